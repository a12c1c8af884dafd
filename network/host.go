package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/network/firewall"
	"tandem/network/netns"
)

// space is a network namespace with what is needed to work on it, each opened when it is first asked for. It can be
// used again after close.
type space struct {
	open  func() (*netns.NS, error)
	state string // of a host: the folder of leases

	ns    *netns.NS
	route *netlink.Handle
	fw    *firewall.Conn
}

// hostSpace is the namespace of a path, the caller's if that is empty, with the state of the bridges in it.
func hostSpace(path, state string) *space {
	if state == "" {
		state = DefaultState
	}
	return &space{state: state, open: func() (*netns.NS, error) {
		if path == "" {
			return netns.Current()
		}
		return netns.Open(path)
	}}
}

func (s *space) netns() (*netns.NS, error) {
	if s.ns == nil {
		ns, err := s.open()
		if err != nil {
			return nil, err
		}
		s.ns = ns
	}
	return s.ns, nil
}

// netlink is a handle of rtnetlink(7).
func (s *space) netlink() (*netlink.Handle, error) {
	if s.route == nil {
		ns, err := s.netns()
		if err != nil {
			return nil, err
		}
		if s.route, err = ns.Handle(unix.NETLINK_ROUTE); err != nil {
			return nil, err
		}
	}
	return s.route, nil
}

func (s *space) firewall() (*firewall.Conn, error) {
	if s.fw == nil {
		ns, err := s.netns()
		if err != nil {
			return nil, err
		}
		if s.fw, err = firewall.Open(ns); err != nil {
			return nil, err
		}
	}
	return s.fw, nil
}

func (s *space) close() error {
	var err error
	if s.fw != nil {
		err = s.fw.Close()
	}
	if s.route != nil {
		s.route.Close()
	}
	if s.ns != nil {
		err = errors.Join(err, s.ns.Close())
	}
	s.ns, s.route, s.fw = nil, nil, nil
	return err
}

// link finds a link, nil if there is none of the name.
func (s *space) link(name string) (netlink.Link, error) {
	h, err := s.netlink()
	if err != nil {
		return nil, err
	}
	link, err := h.LinkByName(name)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil, nil
	}
	return link, err
}

// links lists all links.
func (s *space) links() ([]netlink.Link, error) {
	h, err := s.netlink()
	if err != nil {
		return nil, err
	}
	// A list that changed while it was read has what was there all the time.
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return links, nil
}

// onLink calls f with a link that has to be there.
func (s *space) onLink(name string, f func(*netlink.Handle, netlink.Link) error) error {
	link, err := s.link(name)
	if err != nil {
		return err
	}
	if link == nil {
		return fmt.Errorf("link %s: %w", name, fs.ErrNotExist)
	}
	return f(s.route, link)
}

// deleteLink deletes a link if it is there.
func (s *space) deleteLink(name string) error {
	link, err := s.link(name)
	if err != nil || link == nil {
		return err
	}
	if err := s.route.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) { // a veth's namespace may end meanwhile
		return fmt.Errorf("RTM_DELLINK %s: %w", name, err)
	}
	return nil
}

func sysctlPath(name string) string {
	// Links may have dots in their names, where sysctl(8) has slashes, too.
	return filepath.Join("/proc/sys", name)
}

// sysctlName is how sysctl(8) and people write it.
func sysctlName(name string) string { return strings.ReplaceAll(name, "/", ".") }

// sysctl reads a setting of the namespace, such as net/ipv4/ip_forward. One that the kernel lacks is an error that is
// fs.ErrNotExist.
func (s *space) sysctl(name string) (string, error) {
	ns, err := s.netns()
	if err != nil {
		return "", err
	}
	var text []byte
	err = ns.Do(func() (err error) {
		text, err = os.ReadFile(sysctlPath(name))
		return err
	})
	return strings.TrimSpace(string(text)), err
}

// setSysctl writes a setting if it is another, and returns what it was.
func (s *space) setSysctl(name, value string) (old string, err error) {
	if old, err = s.sysctl(name); err != nil || old == value {
		return old, err
	}
	err = s.ns.Do(func() error { return os.WriteFile(sysctlPath(name), []byte(value), 0) })
	return old, err
}
