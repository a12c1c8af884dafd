package frontend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tandem/vhost/user/backend"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/blk"
	"tandem/virtio/virtiotest"
)

// serve has a server serve a device on a socket until the test is over.
func serve(t testing.TB, dev virtio.Device) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	start(t, path, dev)
	return path
}

// start is serve at a given path; stop ends it before the test is over.
func start(t testing.TB, path string, dev virtio.Device) (stop func()) {
	t.Helper()
	var r virtiotest.Reports
	s, err := backend.New(dev, backend.Options{Report: r.Add})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if t.Failed() {
			t.Logf("back-end's reports: %v", r.All())
		}
	})
	t.Cleanup(stop)
	return stop
}

func open(t testing.TB, spec frontend.Spec) *frontend.Device {
	t.Helper()
	var r virtiotest.Reports
	if spec.Report == nil {
		spec.Report = r.Add
	}
	dev, err := frontend.Open(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dev.Close()
		if t.Failed() {
			t.Logf("front-end's reports: %v", r.All())
		}
	})
	return dev
}

// probeEcho sends bytes through each queue of an echo device.
func probeEcho(g *virtiotest.Guest) {
	g.Helper()
	for q := range g.Rings {
		msg := make([]byte, 1+rand.IntN(300))
		for i := range msg {
			msg[i] = byte(rand.Uint32())
		}
		in, out := g.In(msg), g.Out(uint32(len(msg)))
		if u := g.Do(q, in, out); int(u.Len) != len(msg) {
			g.Fatalf("queue %d: %d bytes came back, want %d", q, u.Len, len(msg))
		}
		if got := g.Bytes(out.GPA, uint64(out.Len)); !bytes.Equal(got, msg) {
			g.Fatalf("queue %d: %x came back, want %x", q, got, msg)
		}
		g.ReuseFrom(in.GPA)
	}
}

// TestConformance has the suite of all virtio devices pass with another process's
// worth of protocol between the transport and the device.
func TestConformance(t *testing.T) {
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			path := serve(t, virtiotest.NewEcho(3, 256))
			return open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 3, ConfigSize: 16, Dial: frontend.Socket(path)})
		},
		Probe: probeEcho, Elsewhere: true,
	}.Run(t)
}

// plain is an Echo that cannot stop single queues.
type plain struct{ virtio.Device }

func TestConformanceWithoutQueueReset(t *testing.T) {
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			path := serve(t, plain{virtiotest.NewEcho(3, 256)})
			return open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 3, QueueSize: 64, Dial: frontend.Socket(path)})
		},
		Probe: probeEcho, Elsewhere: true,
	}.Run(t)
}

// The block device's requests. virtio 1.2, section 5.2.6.
const (
	blkIn    = 0
	blkOut   = 1
	blkFlush = 4
)

func image(t testing.TB, n int) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk")
	content = make([]byte, n)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func openDisk(t testing.TB, spec blk.Spec) *blk.Disk {
	t.Helper()
	d, err := blk.Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func header(kind uint32, sector uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(kind))
	return binary.LittleEndian.AppendUint64(b, sector)
}

// request makes a block request and gives its status byte and data.
func request(g *virtiotest.Guest, q int, kind uint32, sector uint64, data []byte) (status byte) {
	g.Helper()
	head := g.In(header(kind, sector))
	pieces := []virtiotest.Piece{head}
	if len(data) > 0 {
		pieces = append(pieces, g.In(data))
	}
	pieces[len(pieces)-1].Write = kind == blkIn
	last := g.Put([]byte{0xff})
	pieces = append(pieces, virtiotest.Piece{GPA: last, Len: 1, Write: true})
	g.Do(q, pieces...)
	if kind == blkIn {
		copy(data, g.Bytes(pieces[1].GPA, uint64(len(data))))
	}
	g.ReuseFrom(head.GPA)
	return g.Bytes(last, 1)[0]
}

func TestDisk(t *testing.T) {
	const size = 1 << 20
	img, content := image(t, size)
	path := serve(t, openDisk(t, blk.Spec{Path: img, Queues: 2}))
	dev := open(t, frontend.Spec{Type: virtio.TypeBlk, Queues: 2, ConfigSize: 60, Dial: frontend.Socket(path)})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	for range 3 { // a reset, and another start
		g.Start(^uint64(0), 64)
		useDisk(t, g, content)
	}
	if got, err := os.ReadFile(img); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the image is not as the guest wrote it (%v)", err)
	}
}

// useDisk reads and writes all over the disk.
func useDisk(t testing.TB, g *virtiotest.Guest, content []byte) {
	t.Helper()
	if got := g.Config64(0); got != uint64(len(content)/512) {
		t.Fatalf("capacity = %d sectors, want %d", got, len(content)/512)
	}
	for i := range 200 {
		q := i % len(g.Rings)
		n := 512 * (1 + rand.IntN(16))
		at := 512 * rand.IntN(len(content)/512-16)
		if i%2 == 0 {
			for j := range content[at:][:n] {
				content[at+j] = byte(rand.Uint32())
			}
			if s := request(g, q, blkOut, uint64(at/512), content[at:at+n]); s != 0 {
				t.Fatalf("write at %d: status %d", at, s)
			}
			continue
		}
		got := make([]byte, n)
		if s := request(g, q, blkIn, uint64(at/512), got); s != 0 || !bytes.Equal(got, content[at:at+n]) {
			t.Fatalf("read at %d: status %d, right: %v", at, s, bytes.Equal(got, content[at:at+n]))
		}
	}
	if s := request(g, 0, blkFlush, 0, nil); s != 0 {
		t.Fatalf("flush: status %d", s)
	}
}

// TestConfig has configuration go both ways, and the back-end tell of a change.
func TestConfig(t *testing.T) {
	echo := virtiotest.NewEcho(1, 16)
	dev := open(t, frontend.Spec{
		Type: virtiotest.TypeEcho, Queues: 1, ConfigSize: 16, Dial: frontend.Socket(serve(t, echo)),
	})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(^uint64(0), 16)
	probeEcho(g) // the back-end's device is active
	before := g.Generation()
	echo.Count()
	if !g.WaitConfig(virtiotest.Patience) {
		t.Fatal("no configuration interrupt")
	}
	if got := g.Config64(0); got != 1<<32|1 {
		t.Errorf("counter = %#x, want 1 twice", got)
	}
	if g.Generation() == before {
		t.Error("the generation did not change")
	}
	g.WriteConfig(8, []byte("abcd"))
	var got [16]byte
	echo.ReadConfig(0, got[:])
	if string(got[8:12]) != "abcd" {
		t.Errorf("the back-end's configuration = %q", got)
	}
	g.ReadConfig(8, got[:8])
	if string(got[:4]) != "abcd" {
		t.Errorf("the front-end's configuration = %q", got[:8])
	}
}

func TestOwnConfig(t *testing.T) {
	echo := virtiotest.NewEcho(1, 16)
	dev := open(t, frontend.Spec{
		Type: virtio.TypeFS, Queues: 1, Config: []byte("mytag"), Dial: frontend.Socket(serve(t, echo)),
	})
	p := []byte("......")
	dev.ReadConfig(2, p)
	if string(p) != "tag..." {
		t.Errorf("configuration = %q", p)
	}
	dev.WriteConfig(0, []byte("x")) // nobody is to be told
}

func TestOpenErrors(t *testing.T) {
	path := serve(t, virtiotest.NewEcho(2, 16))
	good := frontend.Spec{Type: virtiotest.TypeEcho, Queues: 2, Dial: frontend.Socket(path), Timeout: 5 * time.Second}
	for _, c := range []struct {
		name   string
		change func(*frontend.Spec)
		want   string
	}{
		{"nothing to dial", func(s *frontend.Spec) { s.Dial = nil }, "nowhere to connect to"},
		{"nobody there", func(s *frontend.Spec) { s.Dial = frontend.Socket(path + "x") }, "no such file"},
		{"no queues", func(s *frontend.Spec) { s.Queues = 0 }, "0 queues"},
		{"too many for the protocol", func(s *frontend.Spec) { s.Queues = 257 }, "257 queues"},
		{"too many for the back-end", func(s *frontend.Spec) { s.Queues = 3 }, "the back-end has 2 queues, want 3"},
		{"queue size", func(s *frontend.Spec) { s.QueueSize = 48 }, "queue size 48"},
		{"configuration from both", func(s *frontend.Spec) { s.Config, s.ConfigSize = []byte{1}, 1 }, "from both ends"},
		{"configuration too large", func(s *frontend.Spec) { s.ConfigSize = 257 }, "257 bytes of configuration"},
	} {
		spec := good
		c.change(&spec)
		dev, err := frontend.Open(context.Background(), spec)
		if err == nil || !contains(err, c.want) {
			t.Errorf("%s: error = %v, want %q in it", c.name, err, c.want)
		}
		if err == nil {
			dev.Close()
		}
	}
}

func contains(err error, s string) bool { return bytes.Contains([]byte(err.Error()), []byte(s)) }

// TestPrivateMemory has guest memory that nobody else can map.
func TestPrivateMemory(t *testing.T) {
	path := serve(t, virtiotest.NewEcho(1, 16))
	dev := open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(path)})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{})
	g.Negotiate(0)
	g.AddRing(0, 16, 0)
	g.SetInterrupts(1)
	g.DriverOK()
	g.WaitNeedsReset()
	if err := errors.Join(g.Reports()...); err == nil || !contains(err, "is private") {
		t.Errorf("reports = %v", err)
	}
}
