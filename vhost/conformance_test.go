package vhost_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	stdnet "net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
	"tandem/vhost/kernel"
	"tandem/vhost/user/backend"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/net"
	"tandem/virtio/virtiotest"
)

var cardMAC = stdnet.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}

// cards are network cards at a wire, for the suite of all virtio devices.
type cards struct {
	wire *nettest.Wire
	seed byte
}

// otherType is of frames that no probe waits for.
const otherType = nettest.WireType + 1

// plug is the tap for one more card, with nothing in it that the card before it left there. The file is the card's.
func (c *cards) plug(t testing.TB) *os.File {
	t.Helper()
	raw, err := c.wire.Tap.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	end := -1
	controlErr := raw.Control(func(fd uintptr) {
		for b := make([]byte, 2048); err == nil; {
			_, err = unix.Read(int(fd), b)
		}
		if err == unix.EAGAIN {
			end, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err := errors.Join(controlErr, err); err != nil {
		t.Fatalf("plug a card into the tap: %v", err)
	}
	return os.NewFile(uintptr(end), "tap0")
}

// frame is one of so many bytes to the card, unlike the one before it.
func (c *cards) frame(etherType uint16, n int) []byte {
	c.seed++
	b := append(bytes.Clone(cardMAC), 0x02, 0, 0, 0, 0, 1)
	b = binary.BigEndian.AppendUint16(b, etherType)
	for len(b) < n {
		b = append(b, c.seed+byte(7*len(b)))
	}
	return b
}

// probe has a frame come in by the receive queue, and another go out by the transmit queue if the driver made one.
func (c *cards) probe(g *virtiotest.Guest) {
	g.Helper()
	want := c.frame(nettest.WireType, 200)
	c.wire.Send(g, want)
	for !c.received(g, want) {
	}
	if len(g.Rings) < 2 {
		return
	}
	want = c.frame(nettest.WireType, 150)
	head := g.In(make([]byte, net.HeaderSize))
	g.Do(1, head, g.In(want[:100]), g.In(want[100:]))
	g.ReuseFrom(head.GPA)
	if got := c.wire.Receive(g); !bytes.Equal(got, want) {
		g.Fatalf("%x was sent, want %x", got, want)
	}
}

// received offers a buffer and waits until a frame is in it. It gives false if that is none of the probes' frames: the
// host has some to say over a link that is new (RFC 4861, router solicitations).
func (c *cards) received(g *virtiotest.Guest, want []byte) bool {
	g.Helper()
	buffer := g.Out(1600)
	u := g.Do(0, buffer)
	got := bytes.Clone(g.Bytes(buffer.GPA, uint64(u.Len)))
	g.ReuseFrom(buffer.GPA)
	const typeAt = net.HeaderSize + 12
	switch {
	case len(got) < typeAt+2:
		g.Fatalf("%d bytes were received: %x", len(got), got)
	case binary.BigEndian.Uint16(got[typeAt:]) != nettest.WireType:
		return false
	case !bytes.Equal(got[net.HeaderSize:], want):
		g.Fatalf("%x was received, want %x", got[net.HeaderSize:], want)
	}
	return true
}

func newCard(t testing.TB, spec net.Spec) virtio.Device {
	t.Helper()
	spec.MAC = cardMAC
	card, err := net.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := card.Close(); err != nil {
			t.Errorf("close the card: %v", err)
		}
	})
	return card
}

func newTap(t testing.TB, file *os.File) net.Backend {
	t.Helper()
	tap, err := net.NewTap(file)
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

// TestNetCardOnVhost has the card's data queues served by the kernel, and its control queue by the card.
func TestNetCardOnVhost(t *testing.T) {
	testenv.Need(t, testenv.VHostNet, testenv.TUN, testenv.NetNS, testenv.Root)
	c := &cards{wire: nettest.NewWire(t)}
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			file := c.plug(t)
			tap := newTap(t, file)
			server, err := kernel.OpenNet(kernel.NetSpec{
				Taps: []*os.File{file}, Report: func(err error) { t.Errorf("the kernel's server: %v", err) },
			})
			if err != nil {
				tap.Close()
				t.Fatal(err)
			}
			card := newCard(t, net.Spec{Backend: tap, Server: server})
			t.Cleanup(func() { // before the card, whose tap it serves
				if err := server.Close(); err != nil {
					t.Errorf("close the kernel's server: %v", err)
				}
			})
			return card
		},
		Probe:     c.probe,
		Rouse:     func(g *virtiotest.Guest) { c.wire.Send(g, c.frame(otherType, 60)) },
		Elsewhere: true,
	}.Run(t)
}

// TestNetCardOnVhostUser has them served by another card over a socket.
func TestNetCardOnVhostUser(t *testing.T) {
	testenv.Need(t, testenv.TUN, testenv.NetNS, testenv.Root)
	c := &cards{wire: nettest.NewWire(t)}
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			far := newCard(t, net.Spec{Backend: newTap(t, c.plug(t))})
			server, err := frontend.Open(context.Background(), frontend.Spec{
				Type: virtio.TypeNet, Queues: 3, QueueSize: net.QueueSize, Dial: frontend.Socket(serve(t, far)),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			return newCard(t, net.Spec{Server: server})
		},
		Probe:     c.probe,
		Elsewhere: true,
	}.Run(t)
}

// serve has a vhost-user back-end serve a device until the test is over.
func serve(t testing.TB, dev virtio.Device) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	s, err := backend.New(dev, backend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := stdnet.ListenUnix("unix", &stdnet.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the back-end: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return path
}
