package elsewhere

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

// Share is a folder of the host that is wanted in the guest.
type Share struct {
	Source   string `json:"source"`
	Tag      string `json:"tag"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// MountRoot is the folder in the guest in which shares are mounted by tandem's init, each by its tag.
const MountRoot = "/mnt"

// ParseShare reads SOURCE:TAG[:ro].
func ParseShare(text string) (s Share, err error) {
	words := strings.Split(text, ":")
	if n := len(words); n > 1 && (words[n-1] == "ro" || words[n-1] == "rw") {
		s.ReadOnly = words[n-1] == "ro"
		words = words[:n-1]
	}
	if len(words) != 2 || words[0] == "" {
		return s, errors.New("want FOLDER:TAG or FOLDER:TAG:ro")
	}
	s.Tag = words[1]
	if err := checkTag(s.Tag); err != nil {
		return s, err
	}
	if s.Source, err = filepath.Abs(words[0]); err != nil {
		return s, err
	}
	info, err := os.Stat(s.Source)
	if err != nil {
		return s, err
	}
	if !info.IsDir() {
		return s, fmt.Errorf("%s is no folder", s.Source)
	}
	return s, nil
}

// Mount is where tandem's init mounts the share.
func (s *Share) Mount() config.Mount {
	m := config.Mount{Source: s.Tag, Target: path.Join(MountRoot, s.Tag), Type: "virtiofs"}
	if s.ReadOnly {
		m.Options = "ro"
	}
	return m
}

// daemons are where distributions put virtiofsd: Debian's package of that name, and QEMU's up to 7.2.
var daemons = []string{"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"}

// FindDaemon gives virtiofsd's path.
func FindDaemon() (string, error) {
	if p, err := exec.LookPath("virtiofsd"); err == nil {
		return p, nil
	}
	for _, p := range daemons {
		if unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	return "", errors.New("virtiofsd is not there: apt-get install virtiofsd, or qemu-system-common on Debian 12")
}

// said is what a process says, its last words first of all.
type said struct {
	mu   sync.Mutex
	text []byte
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	if over := len(s.text) - 4096; over > 0 {
		s.text = s.text[over:]
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// Live is a share that is served.
type Live struct {
	Device Device

	cmd    *exec.Cmd
	said   said
	folder string
	ended  chan error
}

// Serve starts virtiofsd for a share. It ends when the machine closes its connection, and with this process. self is
// tandem's own program: a share that is read-only is mounted so for virtiofsd alone, see MountAndExec.
func Serve(self string, s Share) (l *Live, err error) {
	daemon, err := FindDaemon()
	if err != nil {
		return nil, err
	}
	l = &Live{ended: make(chan error, 1)}
	if l.folder, err = os.MkdirTemp("", "tandem-share"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(l.folder))
		}
	}()
	l.Device = Device{Kind: FS, Socket: filepath.Join(l.folder, "fs.sock"), Tag: s.Tag}
	// The socket listens before the daemon starts: nobody has to wait for it to appear.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: l.Device.Socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	args := []string{daemon, "-f", "--fd=3", "-o", "source=" + s.Source, "-o", "cache=auto", "--rlimit-nofile=0"}
	if s.ReadOnly {
		args = append([]string{self, "vhost-user", "read-only", s.Source}, args...)
	}
	l.cmd = exec.Command(args[0], args[1:]...)
	l.cmd.ExtraFiles = []*os.File{file}
	l.cmd.Stdout, l.cmd.Stderr = &l.said, &l.said
	l.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a terminal's signals are this process's
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { l.ended <- l.cmd.Wait() }()
	return l, nil
}

// patience is how long virtiofsd may take to end when its connection has.
const patience = 5 * time.Second

// Close ends virtiofsd, if the machine's end did not, and removes the socket.
func (l *Live) Close() error {
	select {
	case <-l.ended:
	case <-time.After(patience):
		_ = unix.Kill(-l.cmd.Process.Pid, unix.SIGKILL)
		<-l.ended
	}
	return os.RemoveAll(l.folder)
}

// Why is what virtiofsd has said, for an error that may come of it.
func (l *Live) Why(err error) error {
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(l.said.String()); text != "" {
		return fmt.Errorf("%w\nvirtiofsd said: %s", err, text)
	}
	return err
}

// MountAndExec executes a program in a mount namespace of its own, in which a folder is read-only, with all that is
// mounted below it. It returns if it fails. The caller's thread is spent: it must be locked.
func MountAndExec(folder string, args []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mount namespace: %w", err)
	}
	// What is mounted here stays here, and what the host unmounts goes here too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts slaves: %w", err)
	}
	if err := unix.Mount(folder, folder, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", folder, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, folder, unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make %s read-only: %w", folder, err)
	}
	return fmt.Errorf("execute %s: %w", args[0], unix.Exec(args[0], args, os.Environ()))
}
