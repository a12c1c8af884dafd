package eventfd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newFD(t testing.TB) *FD {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestCounter(t *testing.T) {
	e := newFD(t)
	if e.Pending() {
		t.Error("a new eventfd is pending")
	}
	if n, err := e.Clear(); n != 0 || err != nil {
		t.Errorf("Clear = %d, %v, want 0", n, err)
	}
	for range 3 {
		if err := e.Signal(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // to look takes nothing away
		if !e.Pending() {
			t.Error("not pending after Signal")
		}
	}
	if n, err := e.Wait(); n != 3 || err != nil {
		t.Errorf("Wait = %d, %v, want 3", n, err)
	}
	if e.Pending() {
		t.Error("pending after Wait")
	}
	e.Signal()
	if n, err := e.Clear(); n != 1 || err != nil {
		t.Errorf("Clear = %d, %v, want 1", n, err)
	}
}

func TestWaitSleepsUntilSignal(t *testing.T) {
	e, reply := newFD(t), newFD(t)
	var group sync.WaitGroup
	group.Go(func() {
		for range 1000 {
			e.Wait()
			reply.Signal()
		}
	})
	for i := range 1000 {
		e.Signal()
		if n, err := reply.Wait(); n != 1 || err != nil {
			t.Fatalf("round %d: Wait = %d, %v", i, n, err)
		}
	}
	group.Wait()
}

// TestKernelSignals writes to the descriptor as an ioeventfd does, past the FD.
func TestKernelSignals(t *testing.T) {
	e := newFD(t)
	if _, err := unix.Write(e.Fd(), []byte{5, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if n, err := e.Wait(); n != 5 || err != nil {
		t.Errorf("Wait = %d, %v, want 5", n, err)
	}
}

func TestCloseWakes(t *testing.T) {
	e := newFD(t)
	done := make(chan error)
	go func() {
		_, err := e.Wait()
		done <- err
	}()
	for !sleeping() {
		runtime.Gosched()
	}
	e.Close()
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Wait = %v, want ErrClosed", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Wait is still blocked")
	}
	if err := e.Signal(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Signal = %v, want ErrClosed", err)
	}
	if _, err := e.Clear(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Clear = %v, want ErrClosed", err)
	}
	if e.Pending() {
		t.Error("a closed eventfd is pending")
	}
}

// sleeping tells whether some goroutine is in epoll_wait.
func sleeping() bool {
	buf := make([]byte, 1<<16)
	return bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("unix.EpollWait("))
}

func TestAdopt(t *testing.T) {
	num, err := unix.Eventfd(7, 0) // blocking, as a peer may send it
	if err != nil {
		t.Fatal(err)
	}
	e, err := Adopt(num)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if n, err := e.Wait(); n != 7 || err != nil {
		t.Errorf("Wait = %d, %v, want 7", n, err)
	}
	if n, err := e.Clear(); n != 0 || err != nil {
		t.Errorf("Clear = %d, %v, want 0 without blocking", n, err)
	}
	if _, err := Adopt(-1); err == nil {
		t.Error("Adopt(-1) succeeded")
	}
}

func TestSignal(t *testing.T) {
	num, err := unix.Eventfd(1<<31, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Adopt(num)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	full := uint64(1<<64 - 2)
	if _, err := unix.Write(e.Fd(), binary.NativeEndian.AppendUint64(nil, full-1<<31)); err != nil {
		t.Fatal(err)
	}
	if err := e.Signal(); err != nil {
		t.Errorf("Signal with a full counter: %v", err)
	}
	if n, err := e.Clear(); n != full || err != nil {
		t.Errorf("Clear = %#x, %v, want %#x", n, err, full)
	}
	if err := e.Signal(); err != nil {
		t.Error(err)
	}
	if n, err := e.Wait(); n != 1 || err != nil {
		t.Errorf("Wait = %d, %v, want 1", n, err)
	}
	e.Close()
	if err := e.Signal(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Signal = %v, want ErrClosed", err)
	}
}

func TestNoAllocations(t *testing.T) {
	e := newFD(t)
	if n := testing.AllocsPerRun(100, func() { e.Signal(); e.Signal(); e.Wait() }); n != 0 {
		t.Errorf("%v allocations for Signal and Wait, want 0", n)
	}
}

func BenchmarkSignalWait(b *testing.B) {
	e := newFD(b)
	b.ReportAllocs()
	for b.Loop() {
		e.Signal()
		e.Wait()
	}
}

// BenchmarkPingPong is two wake-ups of another goroutine.
func BenchmarkPingPong(b *testing.B) {
	e, reply := newFD(b), newFD(b)
	go func() {
		for {
			if _, err := e.Wait(); err != nil {
				return
			}
			reply.Signal()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		e.Signal()
		reply.Wait()
	}
}
