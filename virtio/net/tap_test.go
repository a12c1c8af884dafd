package net

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// cable is a tap in a network namespace of its own, and a socket that sees all that passes there.
type cable struct {
	files  []*os.File
	packet int
}

// newCable makes one. The namespace lives as long as its files.
func newCable(t testing.TB, queues int, flags uint16) *cable {
	t.Helper()
	testenv.Need(t, testenv.NetNS, testenv.TUN)
	c := &cable{}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- c.make(queues, flags)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(c.packet) })
	return c
}

func (c *cable) make(queues int, flags uint16) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	for range queues {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		request, _ := unix.NewIfreq("tap0")
		request.SetUint16(flags)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return err
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		c.files = append(c.files, os.NewFile(uintptr(fd), "tap0"))
	}
	link, err := net.InterfaceByName("tap0")
	if err != nil {
		return err
	}
	up, _ := unix.NewIfreq("tap0")
	up.SetUint16(unix.IFF_UP | unix.IFF_NOARP)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, up); err != nil {
		return err
	}
	all := int(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00)
	if c.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
		return err
	}
	tv := unix.NsecToTimeval(virtiotest.Patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(c.packet, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return err
	}
	return unix.Bind(c.packet, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: link.Index})
}

const (
	tapFlags   = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	multiQueue = tapFlags | unix.IFF_MULTI_QUEUE
)

// sees waits until a frame passes.
func (c *cable) sees(t testing.TB, want []byte) {
	t.Helper()
	b := make([]byte, maxFrame)
	for {
		n, _, err := unix.Recvfrom(c.packet, b, 0)
		if err != nil {
			t.Fatalf("the frame did not come: %v", err)
		}
		if bytes.Equal(b[:n], want) {
			return
		}
	}
}

func (c *cable) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := unix.Write(c.packet, b); err != nil {
		t.Fatal(err)
	}
}

// receivedFrom takes what comes until it is the wanted frame: a link says things of its own, such as that it is there.
func receivedFrom(g *virtiotest.Guest, q int, want []byte) []byte {
	g.Helper()
	for {
		pieces := post(g, q, 2000)
		got, _ := received(g, q, pieces)
		if len(got) >= HeaderSize && bytes.Equal(got[HeaderSize:], want) {
			return got[:HeaderSize]
		}
	}
}

// TestTap moves frames through a tap of the kernel's, on every transport.
func TestTap(t *testing.T) {
	for _, k := range virtiotest.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			c := newCable(t, 1, tapFlags)
			tap, err := NewTap(c.files...)
			if err != nil {
				t.Fatal(err)
			}
			d, err := New(Spec{MAC: mac, Backend: tap})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			g := virtiotest.New(t, k, d, virtiotest.Options{})
			for round := range 3 {
				g.Start(^uint64(0), 64)
				out := frame(broadcast, 300, byte(round))
				out[1] = 0 // a gso_size without a gso_type is malformed for a tap
				transmit(g, 1, out, 100)
				c.sees(t, out[HeaderSize:])
				in := frame([6]byte(mac), 400, byte(round))[HeaderSize:]
				c.send(t, in)
				receivedFrom(g, 0, in)
			}
			// What a tap cannot make sense of is dropped.
			bad := frame(broadcast, 300, 1)
			bad[1] = 77
			transmit(g, 1, bad, 100)
			if tx, _ := d.Stats(0); tx.Packets != 3 || tx.Drops[DropMalformed] != 1 {
				t.Errorf("stats %+v, want 3 packets and 1 malformed", tx)
			}
		})
	}
}

// TestTapQueues attaches and detaches queues under a driver that changes their number.
func TestTapQueues(t *testing.T) {
	const pairs = 4
	c := newCable(t, pairs, multiQueue)
	tap, err := NewTap(c.files...)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Spec{MAC: mac, Pairs: pairs, Backend: tap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	g := virtiotest.New(t, virtiotest.Kinds()[0], d, virtiotest.Options{})
	for round := range 3 {
		g.Start(^uint64(0), 64)
		for _, n := range []int{1, 4, 2, 3, 1} {
			if a := command(g, 2*pairs, classMQ, mqPairsSet, le16(uint16(n))...); a != ackOK {
				t.Fatalf("%d pairs: answer %d", n, a)
			}
			for pair := range n {
				out := frame(broadcast, 300, byte(round*16+pair))
				out[1] = 0
				transmit(g, 2*pair+1, out, 100)
				c.sees(t, out[HeaderSize:])
			}
			if n == 1 {
				// Which queue a frame takes is the kernel's choice, if it has one.
				in := frame([6]byte(mac), 400, byte(round*16+n))[HeaderSize:]
				c.send(t, in)
				receivedFrom(g, 0, in)
			}
		}
	}
	if s := g.Status(); s&virtio.StatusNeedsReset != 0 {
		t.Errorf("status %#x: %v", s, g.Reports())
	}
}

// TestTapRefused gives what is no tap, or not one that will do.
func TestTapRefused(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		files func() []*os.File
	}{
		{"none", func() []*os.File { return nil }},
		{"no tap", func() []*os.File { return []*os.File{null} }},
		{"no header", func() []*os.File { return newCable(t, 1, unix.IFF_TAP|unix.IFF_NO_PI).files }},
		{"a tun", func() []*os.File { return newCable(t, 1, unix.IFF_TUN|unix.IFF_NO_PI|unix.IFF_VNET_HDR).files }},
		{"one queue twice", func() []*os.File {
			return append(newCable(t, 1, tapFlags).files, newCable(t, 1, tapFlags).files...)
		}},
	} {
		files := test.files()
		if tap, err := NewTap(files...); err == nil {
			t.Errorf("%s: NewTap took it", test.name)
			tap.Close()
		}
		for _, f := range files {
			if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: a file was left open", test.name)
			}
		}
	}
}
