package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/thread"
)

// threadFile is the file of the calling thread's own namespace.
const threadFile = "/proc/thread-self/ns/net"

// ErrNotNetNS is wrapped by the error for a file that stands for no network namespace.
var ErrNotNetNS = errors.New("not a network namespace")

// NS is an open network namespace. Its methods may be called by several goroutines at once, but not while Close runs.
type NS struct {
	file *os.File
	id   ID
}

// ID tells namespaces apart for as long as one of them is open.
type ID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// Current opens the namespace of the calling thread.
func Current() (*NS, error) { return Open(threadFile) }

// Open opens the namespace that a file stands for: /proc/PID/ns/net, a mount of that, or /proc/self/fd/N.
func Open(path string) (*NS, error) {
	// A file of the caller's choice may be a pipe: without O_NONBLOCK, opening it waits for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("netns: %w", err)
	}
	return FromFile(file)
}

// FromFile makes an NS of an open file, and owns it from then on. It closes the file if it fails.
func FromFile(file *os.File) (*NS, error) {
	id, err := check(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("netns: %s: %w", file.Name(), err)
	}
	return &NS{file, id}, nil
}

// check asks nsfs for the kind of namespace (ioctl_nsfs(2)), and no other file system: an ioctl's number means
// something else elsewhere.
func check(file *os.File) (ID, error) {
	var fs unix.Statfs_t
	fd := int(file.Fd())
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return ID{}, err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return ID{}, ErrNotNetNS
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return ID{}, err
	}
	if kind != unix.CLONE_NEWNET {
		return ID{}, ErrNotNetNS
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return ID{}, err
	}
	return ID{stat.Dev, stat.Ino}, nil
}

// New makes a namespace that nothing but the NS holds. It needs CAP_SYS_ADMIN. lo is there, and down.
func New() (*NS, error) {
	var ns *NS
	var err error
	thread.Throwaway(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("netns: unshare: %w", err)
			return
		}
		ns, err = Current()
	})
	return ns, err
}

// Close closes the descriptor. The namespace goes if nothing else holds it.
func (n *NS) Close() error { return n.file.Close() }

// ID is the namespace's identity.
func (n *NS) ID() ID { return n.id }

// Fd is for requests that name a namespace by descriptor, such as IFLA_NET_NS_FD. It is the NS's own.
func (n *NS) Fd() int { return int(n.file.Fd()) }

// Path names the namespace for this process, while the NS is open.
func (n *NS) Path() string { return fmt.Sprintf("/proc/self/fd/%d", n.Fd()) }

// Do calls f on a thread that is in the namespace. It needs CAP_SYS_ADMIN, unless the caller's thread is there already.
func (n *NS) Do(f func() error) error {
	runtime.LockOSThread()
	unlock := true
	defer func() {
		if unlock {
			runtime.UnlockOSThread()
		}
	}()
	back, err := Current()
	if err != nil {
		return err
	}
	defer back.Close()
	if back.id == n.id {
		return f()
	}
	if err := n.enter(); err != nil {
		return err
	}
	// Also when f panics, or ends the goroutine as a failed test does. A thread that can't go back must not serve
	// other goroutines, and the runtime ends it with this one.
	defer func() { unlock = back.enter() == nil }()
	return f()
}

func (n *NS) enter() error {
	if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("netns: setns %s: %w", n.file.Name(), err)
	}
	return nil
}

// Handle opens netlink sockets of the given families (unix.NETLINK_ROUTE, ...) in the namespace. The caller closes it.
func (n *NS) Handle(families ...int) (*netlink.Handle, error) {
	var h *netlink.Handle
	err := n.Do(func() (err error) {
		h, err = netlink.NewHandle(families...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netns: open netlink: %w", err)
	}
	return h, nil
}
