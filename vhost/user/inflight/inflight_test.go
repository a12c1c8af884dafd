package inflight

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/vhost/user"
	"tandem/virtio/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func newArea(t testing.TB, queues, size uint16) *Area {
	t.Helper()
	a, err := New(queues, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func part(t testing.TB, a *Area, i int, size uint16) *Queue {
	t.Helper()
	q, err := a.Queue(i, size)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestLayout holds the bytes against the structs of the specification, by hand.
func TestLayout(t *testing.T) {
	a := newArea(t, 2, 4)
	if want := (user.Inflight{Size: 2 * 128, Queues: 2, QueueSize: 4}); a.Description() != want {
		t.Errorf("description = %+v, want %+v", a.Description(), want)
	}
	q := part(t, a, 1, 4)
	q.Recover(7)
	q.Popped(2)
	q.Popped(3)
	q.Pushed(3)
	q.Published(8)
	q.Pushed(2)
	want := []byte{
		0, 0, 0, 0, 0, 0, 0, 0, // features
		1, 0, 4, 0, // version, desc_num
		2, 0, 8, 0, // last_batch_head, used_idx
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, // desc[2]: in flight, next 3, counter 0
		0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // desc[3]: done, next 0, counter 1
	}
	if got := a.bytes[128:][:len(want)]; !bytes.Equal(got, want) {
		t.Errorf("area = % x\nwant   % x", got, want)
	}
	if !bytes.Equal(a.bytes[:128], make([]byte, 128)) {
		t.Error("the other queue's part changed")
	}
}

// TestKilledAnywhere stops after each step of a script, as SIGKILL would, and looks
// at what the next back-end makes of what is left.
func TestKilledAnywhere(t *testing.T) {
	const size = 8
	type model struct {
		flight []uint16 // taken, not visible as used, in order
		pushed []uint16
		used   uint16
	}
	var stop int
	type killed struct{}
	for at := 0; ; at++ {
		a := newArea(t, 1, size)
		var m model
		finished := func() (done bool) {
			defer func() {
				if r := recover(); r != nil {
					if _, ok := r.(killed); !ok {
						panic(r)
					}
				}
			}()
			stop = at
			step := func() {
				if stop--; stop < 0 {
					panic(killed{})
				}
			}
			q := part(t, a, 0, size)
			q.Recover(0)
			pop := func(head uint16) {
				step()
				q.Popped(head)
				m.flight = append(m.flight, head)
				step()
			}
			push := func(head uint16) { step(); q.Pushed(head); m.pushed = append(m.pushed, head); step() }
			publish := func() {
				step()
				m.used += uint16(len(m.pushed)) // the ring's index
				m.flight = slices.DeleteFunc(m.flight, func(h uint16) bool { return slices.Contains(m.pushed, h) })
				batch := m.pushed
				m.pushed = nil
				step() // killed between the ring's index and all that follows
				// Published, taken apart, to be killed within it.
				for _, h := range batch {
					q.desc[h].set(0)
					step()
				}
				q.Published(m.used)
				step()
			}
			for _, h := range []uint16{5, 1, 7} {
				pop(h)
			}
			push(1)
			publish()
			pop(1)
			pop(0)
			for _, h := range []uint16{7, 1} {
				push(h)
			}
			publish()
			push(5)
			pop(3)
			push(0)
			publish()
			return true
		}()
		got := part(t, a, 0, size).Recover(m.used)
		if !slices.Equal(got, m.flight) {
			t.Errorf("killed at step %d: in flight %v, want %v (used index %d)", at, got, m.flight, m.used)
		}
		// The next one goes on, and what it does is understood too.
		q := part(t, a, 0, size)
		for _, h := range q.Recover(m.used) {
			q.Popped(h)
		}
		if again := part(t, a, 0, size).Recover(m.used); !slices.Equal(again, got) {
			t.Errorf("killed at step %d, and again: %v, want %v", at, again, got)
		}
		if finished {
			if at < 20 {
				t.Errorf("only %d steps", at)
			}
			return
		}
	}
}

// TestHostile fills areas with what no back-end wrote.
func TestHostile(t *testing.T) {
	const size = 16
	for _, fill := range []byte{0x01, 0x0f, 0x7f, 0x80, 0xff} {
		a := newArea(t, 1, size)
		for i := range a.bytes {
			a.bytes[i] = fill
		}
		heads := part(t, a, 0, size).Recover(3)
		if len(heads) > size {
			t.Errorf("fill %#x: %d heads", fill, len(heads))
		}
	}
}

func FuzzRecover(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 2, 0, 8, 0, 1, 0, 0, 0, 0, 0, 3}, uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, used uint16) {
		const size = 8
		a := newArea(t, 1, size)
		copy(a.bytes, b)
		q := part(t, a, 0, size)
		heads := q.Recover(used)
		seen := map[uint16]bool{}
		for _, h := range heads {
			if h >= size || seen[h] {
				t.Fatalf("heads = %v", heads)
			}
			seen[h] = true
			q.Popped(h)
			q.Pushed(h)
		}
		q.Published(used + uint16(len(heads)))
		if left := part(t, a, 0, size).Recover(used + uint16(len(heads))); len(left) != 0 {
			t.Errorf("in flight after all were published: %v", left)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	good := user.Inflight{Size: 128, Queues: 1, QueueSize: 4}
	for _, c := range []struct {
		name   string
		change func(*user.Inflight)
	}{
		{"no queues", func(d *user.Inflight) { d.Queues = 0 }},
		{"no entries", func(d *user.Inflight) { d.QueueSize = 0 }},
		{"more entries than a queue has", func(d *user.Inflight) { d.QueueSize, d.Size = 0xffff, 1<<20 }},
		{"too short for its queues", func(d *user.Inflight) { d.Queues = 2 }},
		{"beyond the file", func(d *user.Inflight) { d.Offset = 4096 }},
		{"wraps around", func(d *user.Inflight) { d.Offset = 1<<64 - 64 }},
		{"wraps around with its size", func(d *user.Inflight) { d.Size = 1<<64 - 64 }},
		{"not aligned", func(d *user.Inflight) { d.Offset, d.Size = 4, 128 }},
	} {
		fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, 4096); err != nil {
			t.Fatal(err)
		}
		d := good
		c.change(&d)
		if a, err := Open(fd, d); !errors.Is(err, ErrLayout) {
			t.Errorf("%s: error = %v, want ErrLayout", c.name, err)
			if err == nil {
				a.Close()
			}
		}
	}
	r, w, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(w)
	if _, err := Open(r, good); !errors.Is(err, ErrLayout) {
		t.Errorf("a pipe: error = %v, want ErrLayout", err)
	}
	a := newArea(t, 2, 8)
	for _, c := range []struct {
		i    int
		size uint16
	}{{-1, 8}, {2, 8}, {0, 16}} {
		if _, err := a.Queue(c.i, c.size); !errors.Is(err, ErrLayout) {
			t.Errorf("Queue(%d, %d) = %v, want ErrLayout", c.i, c.size, err)
		}
	}
}

func pipe() (r, w int, err error) {
	var p [2]int
	err = unix.Pipe2(p[:], unix.O_CLOEXEC)
	return p[0], p[1], err
}

// TestCutShort has a front-end truncate the area's file under its user.
func TestCutShort(t *testing.T) {
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	a, err := Open(fd, user.Inflight{Size: 128, Queues: 1, QueueSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	q := part(t, a, 0, 4)
	if err := a.File().Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := memory.Guard(func() { q.Popped(1) }); !errors.Is(err, memory.ErrFault) {
		t.Errorf("error = %v, want ErrFault", err)
	}
	// Our own cannot be cut.
	if err := newArea(t, 1, 4).File().Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncate an area of ours: %v, want EPERM", err)
	}
}

func TestNoAllocations(t *testing.T) {
	q := part(t, newArea(t, 1, 8), 0, 8)
	q.Recover(0)
	used := uint16(0)
	if n := testing.AllocsPerRun(100, func() {
		q.Popped(1)
		q.Pushed(1)
		used++
		q.Published(used)
	}); n != 0 {
		t.Errorf("%v allocations a request, want 0", n)
	}
}

func BenchmarkTrack(b *testing.B) {
	q := part(b, newArea(b, 1, 256), 0, 256)
	q.Recover(0)
	for i := 0; b.Loop(); i++ {
		q.Popped(uint16(i % 256))
		q.Pushed(uint16(i % 256))
		q.Published(uint16(i + 1))
	}
}

func ExampleQueue_Recover() {
	a, err := New(1, 8)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	q, _ := a.Queue(0, 8)
	q.Recover(0)
	for _, head := range []uint16{3, 7, 1, 5} {
		q.Popped(head)
	}
	q.Pushed(7)
	q.Pushed(5)
	q.Published(2)
	// The process ends here; another one maps the same file.
	next, _ := a.Queue(0, 8)
	fmt.Println(next.Recover(2))
	// Output: [3 1]
}
