package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
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
	const header = 10 // struct virtio_net_hdr
	for i, who := range []struct {
		ip  netip.Addr
		mac string
	}{{a.Gateways[0], bridgeMACOf(w)}, {c.Addresses[0].Addr(), c.MAC}} {
		request := append(make([]byte, header), arpRequest(mac, a.Addresses[0].Addr(), who.ip)...)
		if _, err := queues[i].Write(request); err != nil {
			t.Fatal(err)
		}
		reply := readReply(t, queues, who.ip, header)
		if got := net.HardwareAddr(reply[22:28]).String(); got != who.mac {
			t.Errorf("%v is at %s, want %s", who.ip, got, who.mac)
		}
	}
}

func bridgeMACOf(w *world) string {
	w.t.Helper()
	link, err := w.handle(w.host).LinkByName("tandem0")
	w.must(err)
	return link.Attrs().HardwareAddr.String()
}

// readReply waits for an ARP reply on any queue, and passes over what else is on the bridge.
func readReply(t *testing.T, queues []*os.File, from netip.Addr, header int) []byte {
	t.Helper()
	frames := make(chan []byte)
	done := make(chan struct{})
	defer close(done)
	for _, q := range queues {
		q.SetReadDeadline(time.Now().Add(patience))
		go func() {
			for {
				buffer := make([]byte, 2000)
				n, err := q.Read(buffer)
				if err != nil {
					buffer = nil
				}
				select {
				case frames <- buffer[:n]:
				case <-done:
					return
				}
				if err != nil {
					return
				}
			}
		}()
	}
	for range 100 {
		frame := <-frames
		if len(frame) < header+42 {
			if frame == nil {
				break
			}
			continue
		}
		if frame = frame[header:]; binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_ARP && frame[21] == 2 &&
			bytes.Equal(frame[28:32], from.AsSlice()) {
			for _, q := range queues {
				q.SetReadDeadline(time.Now())
			}
			return frame
		}
	}
	t.Fatalf("no reply from %v", from)
	return nil
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
