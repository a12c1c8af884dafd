package container

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netSpace is a network namespace, and a socket in it to speak to its links.
type netSpace struct {
	file   *os.File
	handle *netlink.Handle
	socket *nl.NetlinkSocket
}

// moved is a link between two namespaces.
type moved struct {
	index     int    // in the one that it is in
	name      string // likewise
	up        bool
	addresses []netlink.Addr
}

func openNetSpace(path string) (*netSpace, error) {
	file, err := openNamespace(path, namespaceTypes[netType])
	if err != nil {
		return nil, err
	}
	at := netns.NsHandle(file.Fd())
	handle, err := netlink.NewHandleAt(at, unix.NETLINK_ROUTE)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: rtnetlink: %w", path, err)
	}
	socket, err := nl.GetNetlinkSocketAt(at, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		file.Close()
		return nil, fmt.Errorf("%s: rtnetlink: %w", path, err)
	}
	return &netSpace{file, handle, socket}, nil
}

func (s *netSpace) close() {
	s.socket.Close()
	s.handle.Close()
	s.file.Close()
}

func (s *netSpace) has(name string) (bool, error) {
	_, err := s.handle.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	return err == nil, err
}

// find looks at a link, and at those of its addresses that are somebody's decision (IFA_F_PERMANENT) and hold for everybody
// (RT_SCOPE_UNIVERSE): all others the kernel makes by itself where they are wanted.
func (s *netSpace) find(name string) (moved, error) {
	link, err := s.handle.LinkByName(name)
	if err != nil {
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			err = fmt.Errorf("the host has no link of that name: %w", unix.ENODEV)
		}
		return moved{}, err
	}
	attrs := link.Attrs()
	if attrs.Flags&net.FlagLoopback != 0 {
		return moved{}, fmt.Errorf("%w: a loopback link cannot be moved", ErrInvalid)
	}
	addresses, err := s.handle.AddrList(link, unix.AF_UNSPEC)
	if err != nil {
		return moved{}, fmt.Errorf("addresses: %w", err)
	}
	m := moved{index: attrs.Index, name: attrs.Name, up: attrs.Flags&net.FlagUp != 0}
	for _, a := range addresses {
		if a.Flags&unix.IFA_F_PERMANENT != 0 && a.Scope == unix.RT_SCOPE_UNIVERSE {
			m.addresses = append(m.addresses, a)
		}
	}
	return m, nil
}

// freshName is one that no link has.
func freshName() (string, error) {
	var random [5]byte
	_, err := unix.Getrandom(random[:], 0) // package crypto/rand brings ciphers, which are tested at each start
	return "tdm" + hex.EncodeToString(random[:]), err
}

// moveTo moves a link, and names it, in one request.
func (s *netSpace) moveTo(to *netSpace, m *moved, name string) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s.socket}}
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(m.index)
	request.AddData(info)
	request.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.file.Fd()))))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: a link of this kind belongs to its namespace for good", err)
		}
		return err
	}
	link, err := to.handle.LinkByName(name)
	if err != nil {
		return err
	}
	m.index, m.name = link.Attrs().Index, name
	return nil
}

// rename gives it the name, or the first that is free of those that the template stands for.
func (s *netSpace) rename(m *moved, name string) error {
	if err := s.handle.LinkSetName(s.link(m), name); err != nil {
		return fmt.Errorf("name it %q: %w", name, err)
	}
	link, err := s.handle.LinkByIndex(m.index)
	if err != nil {
		return err
	}
	m.name = link.Attrs().Name
	return nil
}

func (s *netSpace) link(m *moved) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Index = m.index
	return &netlink.GenericLink{LinkAttrs: attrs}
}

// lasting are the flags of an address that somebody has chosen; the others are the kernel's remarks on it.
const lasting = unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN

// addAddresses gives the link the addresses that it had where it comes from.
func (s *netSpace) addAddresses(m *moved, name string) error {
	for _, a := range m.addresses {
		a.Flags &= lasting
		a.ValidLft, a.PreferedLft = 0, 0 // for ever
		_, suffix, _ := strings.Cut(a.Label, ":")
		a.Label = ""
		if label := name + ":" + suffix; suffix != "" && len(label) < unix.IFNAMSIZ {
			a.Label = label
		}
		if a.IP.To4() != nil && a.Broadcast == nil {
			a.Broadcast = net.IPv4zero // none, and not what the library would make up
		}
		if err := s.handle.AddrAdd(s.link(m), &a); err != nil {
			return fmt.Errorf("address %v: %w", a.IPNet, err)
		}
	}
	return nil
}

func (s *netSpace) up(m *moved) error { return s.handle.LinkSetUp(s.link(m)) }
