package kernel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
	"tandem/vhost/kernel/stamps"
	"tandem/virtio/queue"
	"tandem/virtio/stamp"
	"tandem/virtio/virtiotest"
)

// chainSteps is what is to be seen of each chain, in this order.
var chainSteps = map[uint16][]queue.Stage{
	0: {queue.ChainPopped, queue.FrameReceived, queue.UsedPublished},
	1: {queue.ChainPopped, queue.FrameSent, queue.UsedPublished},
}

// TestStamps watches the kernel serve two rings: each chain passes all its steps in order, each frame has its length, and
// all of it happened in the time that the test took for it.
func TestStamps(t *testing.T) {
	testenv.Need(t, testenv.VHostNet, testenv.Fentry, testenv.TUN, testenv.Root)
	before := programs(t)
	w := nettest.NewWire(t)
	n, err := OpenNet(NetSpec{Taps: []*os.File{w.Tap}, Report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	g := newGuest(t)
	rx, tx := g.ring(0, false), g.ring(1, false)

	opening := time.Now()
	var seen []stamps.Stamp // the recorder's until it is closed
	r, err := stamps.Open(stamps.Spec{
		Queue: n.QueueAt, Sink: func(s stamps.Stamp) { seen = append(seen, s) }, Report: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened in %v", time.Since(opening))
	defer r.Close()
	// Who asks about another process is told nothing of this one, and nor is who has other rings.
	var others []*stamps.Recorder
	for name, spec := range map[string]stamps.Spec{
		"init's rings":     {Owner: 1, Queue: func(uint64) (uint16, bool) { return 0, true }},
		"another's queues": {Queue: func(uint64) (uint16, bool) { return 0, false }},
	} {
		spec.Sink = func(s stamps.Stamp) { t.Errorf("among %s: %+v", name, s) }
		other, err := stamps.Open(spec)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		others = append(others, other)
	}
	for _, m := range r.Missing() {
		t.Logf("missing: %s: %v", m.Name, m.Reason)
		if !strings.Contains(m.Name, "vhost_net_build_xdp") {
			t.Errorf("%s cannot be seen", m.Name)
		}
	}
	if len(programs(t)) <= len(before) {
		t.Error("no program was attached")
	}

	start := stamp.Now()
	if err := n.Activate(g.activation(0, rx, tx)); err != nil {
		t.Fatal(err)
	}
	buffers := (g.free + 15) &^ 15
	g.offer(rx, 16)
	const frames, together = 30, 20
	var sent []uint64 // lengths
	for i := range frames {
		f := frame(strings.Repeat("x", 1+i))
		g.transmit(tx, f)
		sent = append(sent, uint64(headerLen+len(f)))
		if got := w.Receive(t); !bytes.Equal(got, f) {
			t.Fatalf("packet %d: %q", i, got)
		}
	}
	sent = append(sent, g.burst(tx, together)...) // with one kick
	for range together {
		w.Receive(t)
	}
	var received []uint64
	for i := range frames {
		f := frame(strings.Repeat("y", 1+i))
		w.Send(t, f)
		if got := g.next(rx, buffers); !bytes.Equal(got, f) {
			t.Fatalf("packet %d to the guest: %q", i, got)
		}
		received = append(received, uint64(headerLen+len(f)))
	}
	n.Reset()
	end := stamp.Now()
	for _, r := range append(others, r) {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if lost, err := r.Lost(); err == nil {
		t.Errorf("Lost() = %d after Close", lost)
	}

	c := checker{TB: t, chains: map[uint16][]*chain{}, open: map[key]*chain{}, stages: map[string]int{}}
	worker := seen[0].Worker
	for i, s := range seen {
		if s.Time < start || s.Time > end || i > 0 && s.Time < seen[i-1].Time {
			t.Errorf("%+v: not between %d and %d in its place", s, start, end)
		}
		if s.Worker != worker || s.Ring == 0 {
			t.Errorf("%+v: by another worker than %d", s, worker)
		}
		c.add(s)
	}
	t.Logf("%d stamps: %v", len(seen), c.stages)
	if got := c.lengths(1, queue.FrameSent); !slices.Equal(got, sent) {
		t.Errorf("frames sent have %v bytes, want %v", got, sent)
	}
	// The kernel sends frames of its own over a new link, so ours are among others.
	got := c.lengths(0, queue.FrameReceived)
	for _, want := range received {
		i := slices.Index(got, want)
		if i < 0 {
			t.Fatalf("no frame of %d bytes received in order; there are %v", want, got)
		}
		got = got[i+1:]
	}
	for _, stage := range []string{"0 kick seen", "1 kick seen", "0 call sent", "1 call sent"} {
		if c.stages[stage] == 0 {
			t.Errorf("never: queue %s", stage)
		}
	}
	testGone(t, before)
}

// TestStampsOfTracepoints does without fentry: frames are seen at the tap's link alone.
func TestStampsOfTracepoints(t *testing.T) {
	testenv.Need(t, testenv.VHostNet, testenv.BTF, testenv.TUN, testenv.Root)
	before := programs(t)
	w := nettest.NewWire(t)
	n, err := OpenNet(NetSpec{Taps: []*os.File{w.Tap}, Report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	address, err := unix.Getsockname(w.Socket)
	if err != nil {
		t.Fatal(err)
	}
	var seen []stamps.Stamp
	r, err := stamps.Open(stamps.Spec{
		Queue: n.QueueAt, Sink: func(s stamps.Stamp) { seen = append(seen, s) }, Tracepoints: true,
		Ifindex: address.(*unix.SockaddrLinklayer).Ifindex, Report: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, stage := range []queue.Stage{queue.KickSeen, queue.ChainPopped, queue.UsedPublished, queue.CallSent} {
		if !slices.ContainsFunc(r.Missing(), func(h stamps.Hop) bool { return h.Name == stage.String() && h.Reason != nil }) {
			t.Errorf("%v is neither seen nor missing: %v", stage, r.Missing())
		}
	}

	g := newGuest(t)
	rx, tx := g.ring(0, false), g.ring(1, false)
	start := stamp.Now()
	if err := n.Activate(g.activation(0, rx, tx)); err != nil {
		t.Fatal(err)
	}
	buffers := (g.free + 15) &^ 15
	g.offer(rx, 16)
	threads := workers(t)
	var lengths []uint64
	for i := range 20 {
		f := frame(strings.Repeat("z", 20+i))
		lengths = append(lengths, uint64(len(f)))
		asleep(t, threads) // who is awake is not woken
		g.transmit(tx, f)
		w.Receive(t)
		asleep(t, threads)
		w.Send(t, f)
		g.next(rx, buffers)
	}
	n.Reset()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	end := stamp.Now() // an idle worker may be woken too
	got := map[string][]uint64{}
	for _, s := range seen {
		if s.Time < start || s.Time > end || s.Worker == 0 {
			t.Errorf("%+v: not between %d and %d, or of no worker", s, start, end)
		}
		name := fmt.Sprint(s.Queue, " ", s.Stage)
		got[name] = append(got[name], s.Length)
	}
	if !slices.Equal(got["1 frame sent"], lengths) {
		t.Errorf("frames sent have %v bytes, want %v", got["1 frame sent"], lengths)
	}
	received := slices.DeleteFunc(got["0 frame received"], func(n uint64) bool { return !slices.Contains(lengths, n) })
	if !slices.Equal(received, lengths) { // the kernel's own are shorter
		t.Errorf("frames received have %v bytes, want %v", received, lengths)
	}
	// All frames should wake it. Half of them do even where a worker seen asleep was only about to look for more work.
	if woken := len(got["0 worker woken"]); woken < len(lengths) {
		t.Errorf("the worker was woken %d times for %d frames", woken, 2*len(lengths))
	}
	testGone(t, before)
}

// workers gives the /proc/PID/stat of vhost's workers. They are threads of the kernel's, or from Linux 6.4 on of this process, and
// are named for the thread that opened the device, which may be gone: nobody can tell ours from others'.
func workers(t *testing.T) (stats []string) {
	t.Helper()
	for _, pattern := range []string{"/proc/[0-9]*/stat", "/proc/self/task/*/stat"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), " (vhost-") {
				stats = append(stats, path)
			}
		}
	}
	if len(stats) == 0 {
		t.Fatal("no worker is in /proc")
	}
	return stats
}

// asleep waits until each worker was seen to wait for work, or has ended.
func asleep(t *testing.T, stats []string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, path := range stats {
		for {
			text, err := os.ReadFile(path)
			if err != nil || strings.Contains(string(text), ") S ") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("still awake: %s", text)
			}
			time.Sleep(100 * time.Microsecond) // it may need this processor
		}
	}
}

// burst sends frames with one kick, and gives their lengths.
func (g *guest) burst(r *ringQueue, n int) (lengths []uint64) {
	g.Helper()
	free := g.free
	for i := range n {
		f := frame(fmt.Sprint("burst ", i))
		gpa := g.alloc(headerLen+uint64(len(f)), 16)
		clear(g.bytes(gpa, headerLen))
		copy(g.bytes(gpa+headerLen, uint64(len(f))), f)
		r.Put(virtiotest.Piece{GPA: gpa, Len: headerLen}, virtiotest.Piece{GPA: gpa + headerLen, Len: uint32(len(f))})
		lengths = append(lengths, uint64(headerLen+len(f)))
	}
	r.Publish()
	if err := r.kick.Signal(); err != nil {
		g.Fatal(err)
	}
	for range n {
		g.take(r)
	}
	g.free = free
	return lengths
}

type key struct{ queue, head uint16 }

// chain is one use of a head.
type chain struct{ steps []stamps.Stamp }

// checker follows chains.
type checker struct {
	testing.TB
	chains map[uint16][]*chain // by queue, in the order in which they were popped
	open   map[key]*chain
	stages map[string]int
}

func (c *checker) add(s stamps.Stamp) {
	c.Helper()
	c.stages[fmt.Sprint(s.Queue, " ", s.Stage)]++
	k := key{s.Queue, s.Head}
	switch s.Stage {
	case queue.KickSeen, queue.CallSent:
		return
	case queue.ChainPopped:
		if int(s.Index) != len(c.chains[s.Queue]) {
			c.Errorf("%+v: want index %d", s, len(c.chains[s.Queue]))
		}
		if c.open[k] != nil {
			c.Errorf("%+v: popped twice", s)
		}
		c.open[k] = &chain{}
		c.chains[s.Queue] = append(c.chains[s.Queue], c.open[k])
	}
	ch := c.open[k]
	if ch == nil {
		c.Errorf("%+v: of no chain that was popped", s)
		return
	}
	want := chainSteps[s.Queue][len(ch.steps)]
	if s.Stage != want {
		c.Errorf("%+v: want %v", s, want)
	}
	ch.steps = append(ch.steps, s)
	if s.Stage != queue.UsedPublished {
		return
	}
	delete(c.open, k)
	popped, frame := ch.steps[0], ch.steps[1]
	if popped.Index != s.Index || popped.Index != frame.Index {
		c.Errorf("%+v: popped at index %d, its frame has %d", s, popped.Index, frame.Index)
	}
	switch wantPopped, wantUsed := frame.Length, uint64(0); s.Queue {
	case 0:
		wantPopped, wantUsed = bufferLen, frame.Length
		fallthrough
	default:
		if popped.Length != wantPopped || s.Length != wantUsed {
			c.Errorf("chain of %d bytes, %d written, for a frame of %d", popped.Length, s.Length, frame.Length)
		}
	}
}

// lengths are those of a stage, in its order.
func (c *checker) lengths(queue uint16, stage queue.Stage) (list []uint64) {
	for _, ch := range c.chains[queue] {
		for _, s := range ch.steps {
			if s.Stage == stage {
				list = append(list, s.Length)
			}
		}
	}
	return list
}

// programs are those of the recorder in the kernel, and links of any kind.
func programs(t *testing.T) (list []string) {
	t.Helper()
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			break
		}
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // it has gone
		}
		if info, err := p.Info(); err == nil && strings.HasPrefix(info.Name, "stamps") {
			list = append(list, fmt.Sprint("program ", id))
		}
		p.Close()
	}
	for it := new(link.Iterator); it.Next(); {
		list = append(list, fmt.Sprint("link ", it.ID))
	}
	return list
}

// testGone waits for the kernel to let go of what was closed, which it does when nobody can be in it any more.
func testGone(t *testing.T, before []string) {
	t.Helper()
	deadline := time.Now().Add(virtiotest.Patience)
	for {
		left := slices.DeleteFunc(programs(t), func(p string) bool { return slices.Contains(before, p) })
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left in the kernel: %v", left)
		}
		time.Sleep(time.Millisecond)
	}
}
