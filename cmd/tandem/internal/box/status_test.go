package box

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/process"
)

// TestStatusBetweenTimes has a keeper at work with no container in the engine: before the start, and after the end.
func TestStatusBetweenTimes(t *testing.T) {
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	r := &Record{ID: newID(), Keeper: self, home: &Home{Run: t.TempDir(), Data: t.TempDir()}}
	if got := r.Status(); got != Created {
		t.Errorf("before the start: %s", got)
	}
	r.Started = time.Now()
	if got := r.Status(); got != Running {
		t.Errorf("when it has ended, and that is not put down yet: %s", got)
	}
	r.LastExit = &Exit{}
	if got := r.Status(); got != Restarting {
		t.Errorf("between two lives: %s", got)
	}
	r.Exit = &Exit{}
	if got := r.Status(); got != Exited {
		t.Errorf("after its end: %s", got)
	}
}

// TestWaitForThisEnd has a box be started again at once when it has ended: who has waited is told how, and does not wait for
// its next end.
func TestWaitForThisEnd(t *testing.T) {
	h := &Home{Run: t.TempDir(), Data: t.TempDir()}
	old, end := startKeeper(t)
	next, _ := startKeeper(t)
	r := &Record{ID: newID(), Keeper: old, Started: time.Now(), home: h}
	if err := os.MkdirAll(r.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(r.file(exitFile), nil, 0o600), r.save()); err != nil {
		t.Fatal(err)
	}
	waiter, err := h.Find(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		exit Exit
		err  error
	}
	ended := make(chan result)
	go func() {
		exit, err := waiter.Wait(t.Context())
		ended <- result{exit, err}
	}()
	for !holdsPidFD(t) { // it waits
	}
	if err := r.putExit(Exit{Status: 5, Finished: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := r.anew(); err != nil {
		t.Fatal(err)
	}
	if err := r.change(func(now *Record) { now.Keeper = next }); err != nil {
		t.Fatal(err)
	}
	end()
	select {
	case got := <-ended:
		if got.err != nil || got.exit.Status != 5 {
			t.Errorf("%+v, want status 5", got)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the next end")
	}
}

// startKeeper starts a process that stands for a box's keeper, until it is ended.
func startKeeper(t *testing.T) (id Keeper, end func()) {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		in.Close()
		_ = cmd.Wait() // it has no more to say
	})
	t.Cleanup(end)
	if id, err = process.Of(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return id, end
}

func holdsPidFD(t *testing.T) bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		return err == nil && strings.Contains(target, "pidfd")
	})
}
