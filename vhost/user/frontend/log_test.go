package frontend_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"tandem/vhost/dirty"
	"tandem/vhost/user/frontend"
	"tandem/virtio/memory"
	"tandem/virtio/virtiotest"
)

func newLog(t *testing.T, mem *memory.Space) *dirty.Log {
	t.Helper()
	l, err := dirty.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// answer has an echo written to a page of its own, and gives the page.
func answer(g *virtiotest.Guest) (page uint64) {
	g.Helper()
	in := g.In([]byte("text"))
	out := g.Out(3 * dirty.PageSize)
	out.GPA, out.Len = (out.GPA+dirty.PageSize)&^(dirty.PageSize-1), 4
	if u := g.Do(0, in, out); u.Len != 4 || string(g.Bytes(out.GPA, 4)) != "text" {
		g.Fatalf("%d bytes came back, %q", u.Len, g.Bytes(out.GPA, 4))
	}
	return out.GPA
}

// expect waits for pages to be marked, each of which was written, and gives those that are marked beside them.
func expect(t *testing.T, when string, l *dirty.Log, want ...uint64) (others []uint64) {
	t.Helper()
	missing := map[uint64]bool{}
	for _, page := range want {
		missing[page] = true
	}
	for deadline := time.Now().Add(virtiotest.Patience); ; time.Sleep(time.Millisecond) {
		for page := range l.Take() {
			if missing[page] {
				delete(missing, page)
			} else {
				others = append(others, page)
			}
		}
		if len(missing) == 0 {
			return others
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: pages %v are not marked", when, missing)
		}
	}
}

// TestLog switches the log of dirty pages while a guest drives the device, over a reset, and over the back-end's death.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := start(t, path, virtiotest.NewEcho(1, 64))
	dev := open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(path)})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	log := newLog(t, g.Mem)
	g.Start(^uint64(0), 64)
	answer(g)
	if others := expect(t, "off", log); others != nil {
		t.Errorf("pages %#x are marked before the log is on", others)
	}
	if err := dev.SetLog(log); err != nil {
		t.Fatal(err)
	}
	used := func() uint64 { return g.Rings[0].Used &^ (dirty.PageSize - 1) }
	expect(t, "on", log, answer(g), used())
	written := answer(g)
	for _, page := range expect(t, "on", log, written) {
		if page != used() {
			t.Errorf("page %#x is marked, and was not written", page)
		}
	}

	// A driver's reset, and another start.
	g.Start(^uint64(0), 64)
	expect(t, "after a reset", log, answer(g), used())

	// Another back-end.
	stop()
	start(t, path, virtiotest.NewEcho(1, 64))
	expect(t, "with another back-end", log, answer(g), used())

	if err := dev.SetLog(nil); err != nil {
		t.Fatal(err)
	}
	for range log.Take() {
	}
	answer(g)
	if others := expect(t, "off", log); others != nil {
		t.Errorf("pages %#x are marked after the log is off", others)
	}
}

func TestLogTooSmall(t *testing.T) {
	dev := open(t, frontend.Spec{
		Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(serve(t, virtiotest.NewEcho(1, 64))),
	})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(^uint64(0), 64)
	r, err := memory.Map(0, dirty.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Unmap()
	small, err := memory.New(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.SetLog(newLog(t, small)); !errors.Is(err, dirty.ErrTooSmall) {
		t.Errorf("SetLog = %v", err)
	}
	answer(g)
	if err := dev.SetLog(newLog(t, g.Mem)); err != nil {
		t.Error(err)
	}
	answer(g)
	if err := dev.SetLog(nil); err != nil {
		t.Error(err)
	}
}
