package frontend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"tandem/vhost/user/backend"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/blk"
	"tandem/virtio/virtiotest"
)

// The child of TestKilled is a back-end: what it serves, and where.
const (
	childSocket = "TANDEM_VHOST_SOCKET"
	childImage  = "TANDEM_VHOST_IMAGE"
	childDelay  = "TANDEM_VHOST_DELAY" // microseconds before each request is begun
)

// killed is a test, and a guest whose back-end is killed.
type killed struct {
	testing.TB
	g        *virtiotest.Guest
	socket   string
	image    string
	children []*exec.Cmd
}

// spawn starts a back-end in a process of its own.
func (k *killed) spawn(delay time.Duration) {
	k.Helper()
	_ = os.Remove(k.socket) // what a killed one left behind
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$", "-test.timeout", "120s")
	cmd.Env = append(os.Environ(), childSocket+"="+k.socket, childImage+"="+k.image,
		childDelay+"="+strconv.Itoa(int(delay.Microseconds())))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	k.children = append(k.children, cmd)
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		k.Fatalf("the back-end did not start: %v", err)
	}
}

func (k *killed) kill() {
	k.Helper()
	last := k.children[len(k.children)-1]
	k.children = k.children[:len(k.children)-1]
	if err := last.Process.Kill(); err != nil {
		k.Error(err)
	}
	_ = last.Wait() // "signal: killed"
}

// serveChild is the back-end's process.
func serveChild(t *testing.T, socket string) {
	us, err := strconv.Atoi(os.Getenv(childDelay))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := blk.Open(blk.Spec{Path: os.Getenv(childImage), Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	file, err := os.OpenFile(os.Getenv(childImage), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dev := &shuffler{Device: disk, file: file, delay: time.Duration(us) * time.Microsecond}
	s, err := backend.New(dev, backend.Options{Report: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.Write([]byte{'\n'})
	if err := s.Serve(l); err != nil {
		t.Fatal(err)
	}
}

// TestKilled kills a back-end again and again while requests are in flight, and
// starts another. The guest must get each of its requests back once, with the right
// data, and must not be told of anything.
func TestKilled(t *testing.T) {
	if socket := os.Getenv(childSocket); socket != "" {
		serveChild(t, socket)
		return
	}
	const (
		sectors = 512
		kills   = 12
		perKill = 40 // requests that are answered before the next kill
	)
	img, content := image(t, 512*sectors)
	k := &killed{TB: t, socket: filepath.Join(t.TempDir(), "s"), image: img}
	k.spawn(200 * time.Microsecond)
	defer func() {
		for len(k.children) > 0 {
			k.kill()
		}
	}()
	var r virtiotest.Reports
	dev, err := frontend.Open(context.Background(), frontend.Spec{
		Type: virtio.TypeBlk, Queues: 2, ConfigSize: 60, Dial: frontend.Socket(k.socket), Report: r.Add,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	k.g = virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	k.g.Start(^uint64(0), 64)

	flights := []*flight{newFlight(k.g, 0, content, 0, sectors/2), newFlight(k.g, 1, content, sectors/2, sectors/2)}
	answered := 0
	for range kills {
		for target := answered + perKill; answered < target; {
			for _, f := range flights {
				f.fill()
			}
			answered += flights[0].take() + flights[1].take()
		}
		for _, f := range flights {
			f.fill() // so that there is something to lose
		}
		k.kill()
		k.spawn(200 * time.Microsecond)
	}
	for _, f := range flights {
		for f.inFlight() > 0 {
			f.take()
		}
	}
	if s := k.g.Status(); s != 15 {
		t.Errorf("status = %#x, want 0xf", s)
	}
	k.g.ResetDevice() // the back-end has written all there is
	if got, err := os.ReadFile(img); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the image is not as the guest wrote it (%v)", err)
	}
	if len(r.All()) < kills {
		t.Errorf("%d reports for %d kills: %v", len(r.All()), kills, r.All())
	}
	t.Logf("%d requests in %d lives", answered, kills+1)
}

// flight keeps requests in flight on one queue, each on a sector of its own, and
// checks what comes back.
type flight struct {
	g       *virtiotest.Guest
	queue   int
	content []byte // the part of the disk that is this queue's
	first   uint64
	pending map[uint16]*pending // by head
	busy    map[int]bool        // by sector
	slots   []slot              // buffers that are free
}

type slot struct{ head, data, status uint64 }

type pending struct {
	slot
	sector int
	write  bool
	want   []byte
}

const depth = 16

func newFlight(g *virtiotest.Guest, queue int, content []byte, first, n int) *flight {
	f := &flight{
		g: g, queue: queue, content: content[512*first:][:512*n], first: uint64(first),
		pending: map[uint16]*pending{}, busy: map[int]bool{},
	}
	for range depth {
		f.slots = append(f.slots, slot{g.Alloc(16, 16), g.Alloc(512, 16), g.Alloc(1, 1)})
	}
	return f
}

func (f *flight) inFlight() int { return len(f.pending) }

// fill offers requests until there are no more free buffers.
func (f *flight) fill() {
	ring := f.g.Rings[f.queue]
	for len(f.slots) > 0 {
		p := &pending{slot: f.slots[len(f.slots)-1], write: rand.IntN(2) == 0}
		f.slots = f.slots[:len(f.slots)-1]
		for p.sector = rand.IntN(len(f.content) / 512); f.busy[p.sector]; {
			p.sector = rand.IntN(len(f.content) / 512)
		}
		f.busy[p.sector] = true
		p.want = f.content[512*p.sector:][:512]
		kind, data := uint32(blkIn), f.g.Bytes(p.data, 512)
		if p.write {
			kind = blkOut
			for i := range p.want {
				p.want[i] = byte(rand.Uint32())
			}
			copy(data, p.want)
		} else {
			clear(data)
		}
		copy(f.g.Bytes(p.head, 16), header(kind, f.first+uint64(p.sector)))
		f.g.Bytes(p.status, 1)[0] = 0xff
		head := ring.Put(
			virtiotest.Piece{GPA: p.head, Len: 16},
			virtiotest.Piece{GPA: p.data, Len: 512, Write: !p.write},
			virtiotest.Piece{GPA: p.status, Len: 1, Write: true},
		)
		if f.pending[head] != nil {
			f.g.Fatalf("queue %d: descriptor %d is in flight twice", f.queue, head)
		}
		f.pending[head] = p
		ring.Publish()
	}
	f.g.Kick(f.queue)
}

// take waits for one answer at least, and checks all that are there.
func (f *flight) take() (n int) {
	f.g.Helper()
	f.check(f.g.WaitUsed(f.queue))
	for n = 1; ; n++ {
		u, ok := f.g.Rings[f.queue].Take()
		if !ok {
			return n
		}
		f.check(u)
	}
}

func (f *flight) check(u virtiotest.Used) {
	f.g.Helper()
	p := f.pending[uint16(u.Head)]
	if p == nil {
		f.g.Fatalf("queue %d: chain %d came back, which is not in flight", f.queue, u.Head)
	}
	if s := f.g.Bytes(p.status, 1)[0]; s != 0 {
		f.g.Fatalf("queue %d: sector %d, write %v: status %d", f.queue, p.sector, p.write, s)
	}
	if !p.write && !bytes.Equal(f.g.Bytes(p.data, 512), p.want) {
		f.g.Fatalf("queue %d: read of sector %d (%#x...): not what is there", f.queue, p.sector,
			binary.LittleEndian.Uint64(p.want))
	}
	delete(f.pending, uint16(u.Head))
	delete(f.busy, p.sector)
	f.slots = append(f.slots, p.slot)
}
