package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func (w *world) tap(id string, tap Tap) *Attachment {
	w.t.Helper()
	testenv.Need(w.t, testenv.TUN)
	s := w.spec(id, nil)
	s.Tap = &tap
	return w.attachSpec(s)
}

func (w *world) openTap(a *Attachment, queues int, tap Tap) []*os.File {
	w.t.Helper()
	files, err := OpenTap(a.Host, a.Link, queues, tap)
	w.must(err)
	w.t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return files
}

// arpRequest asks who has an address (RFC 826), in an Ethernet frame.
func arpRequest(mac net.HardwareAddr, own, wanted netip.Addr) []byte {
	var b bytes.Buffer
	b.Write(bytes.Repeat([]byte{0xff}, 6))
	b.Write(mac)
	binary.Write(&b, binary.BigEndian, []uint16{unix.ETH_P_ARP, 1, unix.ETH_P_IP, 6<<8 | 4, 1})
	b.Write(mac)
	b.Write(own.AsSlice())
	b.Write(make([]byte, 6))
	b.Write(wanted.AsSlice())
	return append(b.Bytes(), make([]byte, 60-b.Len())...)
}

// TestTapSpeaksToTheBridge plays a guest that asks for its gateway, and for a container beside it.
func TestTapSpeaksToTheBridge(t *testing.T) {
	w := newWorld(t)
	c := w.attach("container")
	tap := Tap{UID: 1234, GID: 4321, VNetHdr: true, Queues: 2}
	a := w.tap("vm", tap)
	link, err := w.handle(w.host).LinkByName(a.Link)
	w.must(err)
	tuntap, ok := link.(*netlink.Tuntap)
	if !ok || tuntap.Owner != 1234 || tuntap.Group != 4321 || link.Attrs().MTU != uplinkMTU || a.Interface != "" {
		t.Errorf("link %+v, attachment %+v", link, a)
	}
	queues := w.openTap(a, 2, tap)
	mac, err := net.ParseMAC(a.MAC)
	w.must(err)
	replies := readReplies(t, queues)
	for i, who := range []struct {
		ip  netip.Addr
		mac string
	}{{a.Gateways[0], bridgeMACOf(w)}, {c.Addresses[0].Addr(), c.MAC}} {
		request := append(make([]byte, vnetHeader), arpRequest(mac, a.Addresses[0].Addr(), who.ip)...)
		w.wait("a reply from "+who.ip.String(), func() bool {
			if _, err := queues[i].Write(request); err != nil { // anew, as the bridge sees the carrier a little later
				t.Fatal(err)
			}
			select {
			case r := <-replies:
				if r.ip == who.ip && r.mac != who.mac {
					t.Errorf("%v is at %s, want %s", who.ip, r.mac, who.mac)
				}
				return r.ip == who.ip
			case <-time.After(50 * time.Millisecond):
				return false
			}
		})
	}
}

const vnetHeader = 10 // struct virtio_net_hdr

type arpReply struct {
	ip  netip.Addr
	mac string
}

// readReplies reads all queues until the test ends, and passes over what else is on the bridge.
func readReplies(t *testing.T, queues []*os.File) <-chan arpReply {
	t.Helper()
	replies := make(chan arpReply)
	var group sync.WaitGroup
	t.Cleanup(group.Wait) // the context of a test ends before
	for _, q := range queues {
		group.Go(func() {
			buffer := make([]byte, 2000)
			for t.Context().Err() == nil {
				n, err := q.Read(buffer)
				if errors.Is(err, unix.EAGAIN) {
					_, _ = unix.Poll([]unix.PollFd{{Fd: int32(q.Fd()), Events: unix.POLLIN}}, 100)
					continue
				}
				if err != nil {
					return
				}
				if n < vnetHeader+42 {
					continue
				}
				frame := buffer[vnetHeader:n]
				if binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_ARP || frame[21] != 2 {
					continue
				}
				ip, _ := netip.AddrFromSlice(frame[28:32])
				select {
				case replies <- arpReply{ip, net.HardwareAddr(frame[22:28]).String()}:
				case <-t.Context().Done():
					return
				}
			}
		})
	}
	return replies
}

func bridgeMACOf(w *world) string {
	w.t.Helper()
	link, err := w.handle(w.host).LinkByName("tandem0")
	w.must(err)
	return link.Attrs().HardwareAddr.String()
}

// TestTapCarrier is there while the tap is open, unless it is said not to be.
func TestTapCarrier(t *testing.T) {
	w := newWorld(t)
	a := w.tap("vm", Tap{})
	carrier := func(want netlink.LinkOperState) {
		t.Helper()
		w.wait("the link to be "+want.String(), func() bool {
			link, err := w.handle(w.host).LinkByName(a.Link)
			w.must(err)
			return link.Attrs().OperState == want
		})
	}
	carrier(netlink.OperDown)
	queue := w.openTap(a, 1, Tap{})[0]
	carrier(netlink.OperUp)
	w.must(SetCarrier(queue, false))
	carrier(netlink.OperDown)
	w.must(SetCarrier(queue, true))
	carrier(netlink.OperUp)
	w.must(queue.Close())
	carrier(netlink.OperDown)
}

// TestTapIsItsOwners, who needs no privilege, and nobody else's.
func TestTapIsItsOwners(t *testing.T) {
	w := newWorld(t)
	mine, other := w.tap("mine", Tap{UID: 0}), w.tap("other", Tap{UID: 1234, GID: 1234})
	w.must(w.host.Do(func() error { // without privilege no thread can go there
		return asNobody(func() {
			files, err := OpenTap("", mine.Link, 1, Tap{})
			if err != nil {
				t.Errorf("the owner's: %v", err)
			}
			for _, f := range files {
				f.Close()
			}
			if files, err := OpenTap("", other.Link, 1, Tap{}); !errors.Is(err, unix.EPERM) {
				t.Errorf("another's: %v, %v, want %v", files, err, unix.EPERM)
			}
		})
	}))
}

// asNobody calls f on the calling thread without its capabilities, for a while.
func asNobody(f func()) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return err
	}
	less := had
	less[0].Effective, less[1].Effective = 0, 0
	if err := unix.Capset(&header, &less[0]); err != nil {
		return err
	}
	f()
	return unix.Capset(&header, &had[0])
}

func TestOpenTapRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.tap("vm", Tap{Queues: 2})
	if _, err := OpenTap(a.Host, "tap0123456789", 1, Tap{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tap that is not there: %v", err)
	}
	if _, err := OpenTap(a.Host, a.Link, 3, Tap{Queues: 2}); err == nil {
		t.Error("more queues than it was made with")
	}
	if _, err := OpenTap(a.Host, a.Link, 1, Tap{Queues: 1}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("other flags than it was made with: %v", err)
	}
	before := w.snapshot()
	s := w.spec("vm2", nil)
	s.Tap = &Tap{}
	setup, err := Prepare(t.Context(), s)
	w.must(err)
	w.must(makeTap(w.host, setup.Attachment().Link, Tap{})) // somebody was faster
	if _, err := Attach(t.Context(), s); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a tap that is there: %v", err)
	}
	w.must((&space{ns: w.host}).deleteLink(setup.Attachment().Link))
	w.same("afterwards", before, w.snapshot())
}

// TestStatistics are those of the box: what it sends is tx.
func TestStatistics(t *testing.T) {
	w := newWorld(t)
	a := w.attach("a")
	w.serve(w.outside, "udp", ":7000", "outside")
	before, err := a.Stats()
	w.must(err)
	if before.Interface != "eth0" {
		t.Errorf("statistics of %q", before.Interface)
	}
	var sent [2000 - 700]byte
	w.must(a.ns.Do(func() error {
		c, err := net.Dial("udp", at(outsideIP4, 7000))
		if err != nil {
			return err
		}
		defer c.Close()
		for range 10 {
			if _, err := c.Write(sent[:]); err != nil {
				return err
			}
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 2000)); err != nil {
				return err
			}
		}
		return nil
	}))
	after, err := a.Stats()
	w.must(err)
	if n := after.TxBytes - before.TxBytes; n < 10*uint64(len(sent)) || after.TxPackets-before.TxPackets < 10 {
		t.Errorf("after 10 packets of %d bytes tx grew by %d bytes: %+v, before %+v", len(sent), n, after, before)
	}
	if after.RxPackets-before.RxPackets < 10 {
		t.Errorf("after 10 replies rx grew from %d to %d packets", before.RxPackets, after.RxPackets)
	}
	inside, err := NamespaceStats(a.ns.Path())
	if err != nil || len(inside) != 1 || inside[0].Interface != "eth0" || inside[0].TxBytes < after.TxBytes {
		t.Errorf("from the inside: %+v, %v, want at least %+v", inside, err, after)
	}
	w.must(Detach(t.Context(), a.Attachment))
	if _, err := a.Stats(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}
