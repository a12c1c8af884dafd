package stamps

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"tandem/internal/testenv"
	"tandem/virtio/queue"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestOpenHere has each stage either seen or listed with its reason, whatever this host allows.
func TestOpenHere(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BTF)
	spec := Spec{
		Queue: func(uint64) (uint16, bool) { return 0, false },
		Sink:  func(s Stamp) { t.Errorf("%+v, and no ring runs", s) },
	}
	for _, spec.Tracepoints = range []bool{false, true} {
		r, err := Open(spec)
		if err != nil {
			t.Fatal(err)
		}
		byFunction := len(r.links) > 3
		if spec.Tracepoints && byFunction {
			t.Errorf("%d programs for three tracepoints", len(r.links))
		}
		t.Logf("%d programs; missing:", len(r.links))
		for _, hop := range r.Missing() {
			t.Logf("%s: %v", hop.Name, hop.Reason)
			if hop.Reason == nil {
				t.Errorf("%s: no reason", hop.Name)
			}
		}
		for _, stage := range []queue.Stage{queue.KickSeen, queue.ChainPopped, queue.UsedPublished, queue.CallSent} {
			missing := slices.ContainsFunc(r.Missing(), func(h Hop) bool { return strings.HasPrefix(h.Name, stage.String()) })
			if missing == byFunction {
				t.Errorf("%v: missing is %v, by function is %v", stage, missing, byFunction)
			}
		}
		if lost, err := r.Lost(); lost != 0 || err != nil {
			t.Errorf("Lost() = %d, %v", lost, err)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if r.links != nil {
			t.Errorf("%d programs are attached after Close", len(r.links))
		}
	}
}

func TestOpenWithoutSink(t *testing.T) {
	for _, spec := range []Spec{{}, {Sink: func(Stamp) {}}} {
		if r, err := Open(spec); err == nil || r != nil {
			t.Errorf("Open(%+v) = %v, %v", spec, r, err)
		}
	}
}

// TestPlace has stamps of a ring find its queue, and those of another's dropped until it is known.
func TestPlace(t *testing.T) {
	asked := 0
	r := &Recorder{queues: map[ringAt]uint16{}, chains: map[chainOf]uint16{}, spec: Spec{
		Queue: func(avail uint64) (uint16, bool) { asked++; return uint16(avail >> 12), avail < 0x9000 },
	}}
	for _, c := range []struct {
		ring, avail uint64
		stage       queue.Stage
		queue       uint16
		ours        bool
		asked       int
	}{
		{1, 0x3000, queue.KickSeen, 3, true, 1},
		{1, 0x3000, queue.ChainPopped, 3, true, 1},
		{2, 0x3000, queue.ChainPopped, 3, true, 2}, // another structure may be another's
		{3, 0x9000, queue.CallSent, 9, false, 3},
		{3, 0x9000, queue.CallSent, 9, false, 4},
		{1, 0x4000, queue.CallSent, 4, true, 5}, // the driver moved it
		{0, 0, queue.FrameSent, 1, true, 5},
		{0, 0, queue.FrameReceived, 0, true, 5},
	} {
		var s Stamp
		s.Ring, s.Avail, s.Stage = c.ring, c.avail, c.stage
		if ours := r.place(&s); ours != c.ours || s.Queue != c.queue || asked != c.asked {
			t.Errorf("%+v: queue %d, ours is %v, asked %d times", c, s.Queue, ours, asked)
		}
	}
	var frame Stamp
	for _, stage := range []queue.Stage{queue.ChainPopped, queue.FrameSent, queue.UsedPublished} {
		frame.Stage, frame.Ring, frame.Head, frame.Index = stage, 1, 7, 0
		if stage != queue.FrameSent {
			frame.Index = 42
		}
		if r.index(&frame); frame.Index != 42 {
			t.Errorf("%v has index %d, want 42", stage, frame.Index)
		}
	}
	if len(r.chains) != 0 {
		t.Errorf("%v remembered", r.chains)
	}
}

// TestMembers finds members of structures, and says which there are none of.
func TestMembers(t *testing.T) {
	testenv.Need(t, testenv.BTF)
	var l layout
	types := newTypes(t)
	if err := l.common(types); err != nil {
		t.Fatal(err)
	}
	if l.taskTgid != l.taskPid+4 || l.xdpEnd != l.xdpData+8 || l.xdpSize < 32 {
		t.Errorf("layout = %+v", l)
	}
	m := members{spec: types}
	if m.at("msghdr.msg_control"); m.err != nil { // in a union without a name
		t.Error(m.err)
	}
	if m.at("task_struct.no_such.thing"); m.err == nil || !strings.Contains(m.err.Error(), "task_struct.no_such.thing") {
		t.Errorf("error = %v", m.err)
	}
	m.err = nil
	if m.size("no_such_struct"); m.err == nil || errors.Is(m.err, errors.ErrUnsupported) {
		t.Errorf("error = %v", m.err)
	}
}

func newTypes(t *testing.T) *btf.Spec {
	t.Helper()
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	return types
}
