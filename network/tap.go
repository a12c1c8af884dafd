package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/network/netns"
)

const tunDevice = "/dev/net/tun"

// Tap says what a tap is like: a link whose other end is a file, from which a VM's monitor reads what the host sends,
// and writes what the VM sends.
type Tap struct {
	// UID and GID may open it without privilege.
	UID int `json:"uid"`
	GID int `json:"gid"`
	// Queues is their largest number, 1 if 0. More need every opener to ask for IFF_MULTI_QUEUE, as OpenTap does.
	Queues int `json:"queues,omitempty"`
	// VNetHdr puts a struct virtio_net_hdr before each packet, by which checksums and large segments are handed over
	// undone.
	VNetHdr bool `json:"vnetHdr,omitempty"`
}

// flags are those of TUNSETIFF. Every opener has to give the same.
func (t Tap) flags() uint16 {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if t.VNetHdr {
		flags |= unix.IFF_VNET_HDR
	}
	if t.Queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	return flags
}

func (t Tap) flagNames() string {
	text := "IFF_TAP|IFF_NO_PI"
	if t.VNetHdr {
		text += "|IFF_VNET_HDR"
	}
	if t.Queues > 1 {
		text += "|IFF_MULTI_QUEUE"
	}
	return text
}

// tapStep makes a tap that stays when its file is closed, so that whoever runs the VM can open it later, without
// privilege.
func (s *Setup) tapStep() plan.Step {
	name, tap := s.lease.Link, *s.spec.Tap
	return plan.Step{
		Op: "TUNSETIFF", Object: tunDevice,
		Args: []plan.Arg{
			plan.A("name", name), plan.A("flags", tap.flagNames()), plan.A("TUNSETOWNER", tap.UID),
			plan.A("TUNSETGROUP", tap.GID), plan.A("TUNSETPERSIST", 1),
			plan.A("mtu", later(func() string { return fmt.Sprint(s.mtu()) })),
		},
		Why: "a link whose other end is a file: what the VM's monitor writes there, the host receives",
		Do: func() error {
			ns, err := s.host.netns()
			if err != nil {
				return err
			}
			if err := makeTap(ns, name, tap); err != nil {
				return err
			}
			link, err := s.host.link(name)
			if err != nil || link == nil {
				return errors.Join(err, s.host.deleteLink(name))
			}
			if err := s.host.route.LinkSetMTU(link, s.mtu()); err != nil {
				return errors.Join(fmt.Errorf("mtu %d: %w", s.mtu(), err), s.host.deleteLink(name))
			}
			return nil
		},
		Undo: func() error { return s.host.deleteLink(name) },
	}
}

func makeTap(ns *netns.NS, name string, tap Tap) error {
	// IFF_TUN_EXCL: without it, a tap that is there would be taken for ours.
	file, err := tunQueue(ns, name, tap.flags()|unix.IFF_TUN_EXCL)
	if err != nil {
		return err
	}
	defer file.Close()
	fd := int(file.Fd())
	for _, set := range []struct {
		name    string
		request uint
		value   int
	}{
		{"TUNSETOWNER", unix.TUNSETOWNER, tap.UID},
		{"TUNSETGROUP", unix.TUNSETGROUP, tap.GID},
		{"TUNSETPERSIST", unix.TUNSETPERSIST, 1},
	} {
		if err := unix.IoctlSetInt(fd, set.request, set.value); err != nil {
			return fmt.Errorf("%s %d: %w", set.name, set.value, err)
		}
	}
	return nil
}

// tunQueue opens a queue of a tap, in the namespace of the thread that opens the device.
func tunQueue(ns *netns.NS, name string, flags uint16) (*os.File, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(flags)
	fd := -1
	err = ns.Do(func() (err error) {
		if fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open %s: %w", tunDevice, err)
		}
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			unix.Close(fd)
			return fmt.Errorf("TUNSETIFF %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The Go runtime polls files that are non-blocking when they get their name. This one is for a poller of the caller's:
	// each packet would wake the runtime's too.
	file := os.NewFile(uintptr(fd), tunDevice)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: set O_NONBLOCK: %w", tunDevice, err), file.Close())
	}
	return file, nil
}

// OpenTap opens queues of a tap that Attach made. Each is a file that reads and writes one packet at a time, non-blocking,
// for a poller of the caller's: the Go runtime's does not watch it. host is the path of the namespace that the tap is in,
// the caller's if empty; tap is what it was made with. The caller closes them. While none is open, the link has no carrier.
func OpenTap(host, name string, queues int, tap Tap) (files []*os.File, err error) {
	sp := hostSpace(host, "")
	defer sp.close()
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			files, err = nil, fmt.Errorf("network: open tap %s: %w", name, err)
		}
	}()
	if queues < 1 || queues > max(tap.Queues, 1) {
		return nil, fmt.Errorf("%d queues: want 1 to %d", queues, max(tap.Queues, 1))
	}
	link, err := sp.link(name) // TUNSETIFF would make what is not there
	if err != nil {
		return nil, err
	}
	if link == nil {
		return nil, fs.ErrNotExist
	}
	for range queues {
		file, err := tunQueue(sp.ns, name, tap.flags())
		if err != nil {
			return files, err
		}
		files = append(files, file)
	}
	return files, nil
}

// SetCarrier tells the link of an open tap whether its other end is plugged in, as a VM's network card may say it is
// not.
func SetCarrier(queue *os.File, on bool) error {
	value := 0
	if on {
		value = 1
	}
	raw, err := queue.SyscallConn()
	if err != nil {
		return fmt.Errorf("network: set carrier: %w", err)
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, value) })
	if err = errors.Join(err, inner); err != nil {
		return fmt.Errorf("network: set carrier %d: %w", value, err)
	}
	return nil
}
