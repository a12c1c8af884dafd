package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
	"tandem/virtio/virtiotest"
)

const (
	headerLen = 12 // struct virtio_net_hdr_mrg_rxbuf, as with VIRTIO_F_VERSION_1
)

// frame is an Ethernet frame to nobody.
func frame(text string) []byte {
	b := append([]byte{0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2}, 0x88, 0xb5)
	return append(b, bytes.Repeat([]byte(text), 10)...)
}

// transmit sends a frame through a ring.
func (g *guest) transmit(r *ringQueue, b []byte) {
	g.Helper()
	gpa := g.alloc(headerLen+uint64(len(b)), 16)
	clear(g.bytes(gpa, headerLen))
	copy(g.bytes(gpa+headerLen, uint64(len(b))), b)
	r.Offer(virtiotest.Piece{GPA: gpa, Len: headerLen}, virtiotest.Piece{GPA: gpa + headerLen, Len: uint32(len(b))})
	if err := r.kick.Signal(); err != nil {
		g.Fatal(err)
	}
	g.take(r)
	g.free = gpa
}

const bufferLen = 2048

// offer gives buffers to receive into.
func (g *guest) offer(r *ringQueue, n int) {
	for range n {
		r.Offer(virtiotest.Piece{GPA: g.alloc(bufferLen, 16), Len: bufferLen, Write: true})
	}
	if err := r.kick.Signal(); err != nil {
		g.Fatal(err)
	}
}

// next is the next frame of ours that a ring received; the kernel sends some of its
// own over a new link.
func (g *guest) next(r *ringQueue, buffers uint64) []byte {
	g.Helper()
	for {
		u := g.take(r)
		at := buffers + uint64(u.Head)*bufferLen
		b := bytes.Clone(g.bytes(at, uint64(u.Len)))
		r.Offer(virtiotest.Piece{GPA: at, Len: bufferLen, Write: true})
		if err := r.kick.Signal(); err != nil {
			g.Fatal(err)
		}
		if len(b) > headerLen+14 && binary.BigEndian.Uint16(b[headerLen+12:]) == nettest.WireType {
			return b[headerLen:]
		}
	}
}

// TestNet drives vhost-net by hand: there is no guest and no KVM, only memory, two
// rings and eventfds. Packets go both ways through a tap.
func TestNet(t *testing.T) {
	testenv.Need(t, testenv.VHostNet, testenv.TUN, testenv.Root)
	for name, hidden := range map[string]bool{"call by eventfd": false, "call by relay": true} {
		t.Run(name, func(t *testing.T) { testNet(t, hidden) })
	}
}

func testNet(t *testing.T, hidden bool) {
	w := nettest.NewWire(t)
	n, err := OpenNet(NetSpec{Taps: []*os.File{w.Tap}, BusyPoll: 20 * time.Microsecond, Report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("features %#x", n.Features())
	for range 3 { // reset, and another start
		g := newGuest(t)
		rx, tx := g.ring(0, hidden), g.ring(1, hidden)
		if err := n.Activate(g.activation(0, rx, tx)); err != nil {
			t.Fatal(err)
		}
		if us, err := n.Devices()[0].BusyLoop(0); err != nil || us != 20*time.Microsecond {
			t.Errorf("busy loop = %v, %v", us, err)
		}
		buffers := (g.free + 15) &^ 15
		g.offer(rx, 16)
		for i := range 50 {
			sent := frame(strings.Repeat(string(rune('a'+i%26)), 1+i))
			g.transmit(tx, sent)
			if got := w.Receive(t); !bytes.Equal(got, sent) {
				t.Fatalf("packet %d: sent %q, received %q", i, sent, got)
			}
			w.Send(t, sent)
			if got := g.next(rx, buffers); !bytes.Equal(got, sent) {
				t.Fatalf("packet %d to the guest: sent %q, received %q", i, sent, got)
			}
		}
		// Stop the sending ring; it begins anew elsewhere.
		n.StopQueue(1)
		tx = g.ring(1, hidden)
		if err := n.StartQueue(1, tx.device()); err != nil {
			t.Fatal(err)
		}
		g.transmit(tx, frame("after"))
		if got := w.Receive(t); !bytes.Equal(got, frame("after")) {
			t.Errorf("after the ring's reset: %q", got)
		}
		n.Reset()
		used := tx.UsedIdx()
		tx.Offer(virtiotest.Piece{GPA: buffers, Len: 64})
		tx.kick.Signal()
		if got := tx.UsedIdx(); got != used {
			t.Errorf("a ring that was reset is served")
		}
	}
}

// TestNetBrokenRing has a driver break its ring: the kernel gives it up and says so.
func TestNetBrokenRing(t *testing.T) {
	testenv.Need(t, testenv.VHostNet, testenv.TUN, testenv.Root)
	w := nettest.NewWire(t)
	n, err := OpenNet(NetSpec{Taps: []*os.File{w.Tap}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	g := newGuest(t)
	rx, tx := g.ring(0, false), g.ring(1, false)
	if err := n.Activate(g.activation(0, rx, tx)); err != nil {
		t.Fatal(err)
	}
	tx.SetAvail(0xffff)
	if err := tx.kick.Signal(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-g.fail:
		if !errors.Is(err, ErrFailed) {
			t.Errorf("failed with %v, want ErrFailed", err)
		}
	case <-time.After(virtiotest.Patience):
		t.Error("nobody was told")
	}
}

// TestDevice has the kernel refuse what makes no sense; the error names it.
func TestDevice(t *testing.T) {
	testenv.Need(t, testenv.VHostNet)
	d, err := Open(NetPath)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, c := range []struct {
		do   func() error
		want error
		text string
	}{
		{func() error { return d.SetVringNum(0, 3) }, unix.EINVAL, "VHOST_SET_VRING_NUM ring 0: 3: invalid argument"},
		{func() error { return d.SetVringNum(2, 4) }, unix.ENOBUFS, "VHOST_SET_VRING_NUM ring 2: 4:"},
		{func() error { return d.SetFeatures(1 << 63) }, unix.EOPNOTSUPP, "VHOST_SET_FEATURES 0x8000000000000000:"},
		{func() error { return d.SetVringKick(0, 12345) }, unix.EBADF, "VHOST_SET_VRING_KICK ring 0: descriptor 12345:"},
		{func() error { return d.SetOwner() }, unix.EBUSY, "VHOST_SET_OWNER: "},
		{func() error { return d.SetMemTable(make([]MemoryRegion, 1<<16)) }, unix.E2BIG, "VHOST_SET_MEM_TABLE 65536 regions:"},
		{func() error { return d.SetMemTable([]MemoryRegion{{GPA: 1<<64 - 4096, Size: 8192}}) }, unix.EFAULT, "VHOST_SET_MEM_TABLE 1 regions:"},
	} {
		if err := c.do(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), "kernel: /dev/vhost-net: "+c.text) {
			t.Errorf("error = %v, want %q and %v", err, c.text, c.want)
		}
	}
	if err := d.SetVringBase(0, 77); err != nil {
		t.Error(err)
	}
	if got, err := d.VringBase(0); got != 77 || err != nil {
		t.Errorf("base = %d, %v, want 77", got, err)
	}
	if f, err := d.BackendFeatures(); err != nil {
		t.Error(err)
	} else if err := d.SetBackendFeatures(f); err != nil {
		t.Error(err)
	}
	// What this kernel may lack has an error that says so.
	for name, do := range map[string]func() error{
		"endian": func() error { return d.SetVringEndian(0, false) },
		"worker": func() error {
			id, err := d.NewWorker()
			if err != nil {
				return err
			}
			if err := d.AttachWorker(0, id); err != nil {
				return err
			}
			if got, err := d.Worker(0); got != id || err != nil {
				t.Errorf("worker of ring 0 = %d, %v, want %d", got, err, id)
			}
			return nil
		},
	} {
		if err := do(); err != nil && !errors.Is(err, unix.ENOTTY) {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	if err := d.ResetOwner(); err != nil {
		t.Error(err)
	}
	if err := d.SetOwner(); err != nil {
		t.Error(err)
	}
}

func TestNoSuchDevice(t *testing.T) {
	_, err := Open("/dev/vhost-nothing")
	if !errors.Is(err, errors.ErrUnsupported) || err.Error() != "kernel: open /dev/vhost-nothing: unsupported operation: no such file or directory" {
		t.Errorf("error = %v", err)
	}
}
