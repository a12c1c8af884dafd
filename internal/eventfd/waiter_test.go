package eventfd

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newWaiter(t *testing.T, e *FD, also ...*os.File) *Waiter {
	t.Helper()
	w, err := e.NewWaiter(also...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// waiting calls Wait in another goroutine, and gives what it returns.
func waiting(w *Waiter) <-chan error {
	done := make(chan error, 1)
	go func() { done <- w.Wait() }()
	return done
}

// mustWake wants Wait to return. Where it is to return an error, it may come back for no reason before.
func mustWake(t *testing.T, w *Waiter, done <-chan error, want error) {
	t.Helper()
	for late := time.After(time.Minute); ; {
		select {
		case err := <-done:
			if err == nil && want != nil {
				done = waiting(w)
				continue
			}
			if !errors.Is(err, want) {
				t.Fatalf("Wait = %v, want %v", err, want)
			}
			return
		case <-late:
			t.Fatal("Wait is still blocked")
		}
	}
}

// asleep has the waiter's thread sleep in the kernel. Wait may come back for no reason, as when the Go runtime signals its thread:
// not again and again.
func asleep(t *testing.T, w *Waiter) (done <-chan error) {
	t.Helper()
	for range 1000 {
		if done := waiting(w); stays(t, done) {
			return done
		}
	}
	t.Fatal("Wait does not sleep")
	return nil
}

// stays tells whether Wait sleeps and stays asleep.
func stays(t *testing.T, done <-chan error) bool {
	t.Helper()
	returned := func(err error) bool {
		if err != nil {
			t.Fatalf("Wait = %v: it does not sleep", err)
		}
		return false
	}
	for !sleeping() {
		select {
		case err := <-done:
			return returned(err)
		default:
		}
	}
	select {
	case err := <-done:
		return returned(err)
	case <-time.After(20 * time.Millisecond): // it may have passed by epoll_wait only
		return true
	}
}

func TestWaiterSeesEdges(t *testing.T) {
	e := newFD(t)
	e.Signal()
	w := newWaiter(t, e)
	mustWake(t, w, waiting(w), nil) // of before
	for range 3 {
		done := asleep(t, w) // though the counter is not zero
		e.Signal()
		mustWake(t, w, done, nil)
	}
	if n, err := e.Clear(); n != 4 || err != nil {
		t.Errorf("Clear = %d, %v: Wait has taken signals away, want 4", n, err)
	}
}

func TestWaiterOfAFile(t *testing.T) {
	e := newFD(t)
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer out.Close()
	w := newWaiter(t, e, r)
	for _, wake := range []func(){
		func() { _, _ = out.Write([]byte("x")) },
		func() { e.Signal() },
		func() { _, _ = out.Write([]byte("y")) },
		func() { out.Close() },
	} {
		done := asleep(t, w)
		wake()
		mustWake(t, w, done, nil)
	}
	plain, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := e.NewWaiter(plain); !errors.Is(err, unix.EPERM) {
		t.Errorf("a waiter of a plain file: %v, want EPERM", err)
	}
}

func TestCloseWakesAllWaiters(t *testing.T) {
	e := newFD(t)
	one, two := newWaiter(t, e), newWaiter(t, e)
	a, b := asleep(t, one), asleep(t, two)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	mustWake(t, one, a, os.ErrClosed)
	mustWake(t, two, b, os.ErrClosed)
	if err := e.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close again = %v, want ErrClosed", err)
	}
	if _, err := e.NewWaiter(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("NewWaiter = %v, want ErrClosed", err)
	}
}

// TestCloseAgainstAThief has a peer with the same eventfd take every signal away, and fill the counter: Close gets
// through.
func TestCloseAgainstAThief(t *testing.T) {
	for name, play := range map[string]func(fd int){
		"takes": func(fd int) { _, _ = unix.Read(fd, make([]byte, 8)) },
		"fills": func(fd int) { _, _ = unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1<<64-2)) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				e := newFD(t)
				theirs, err := unix.Dup(e.Fd())
				if err != nil {
					t.Fatal(err)
				}
				var over atomic.Bool
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for !over.Load() {
						play(theirs)
					}
				}()
				w := newWaiter(t, e)
				done := make(chan error, 1)
				go func() {
					for {
						if err := w.Wait(); err != nil {
							done <- err
							return
						}
					}
				}()
				e.Close()
				mustWake(t, w, done, os.ErrClosed)
				over.Store(true)
				<-ended
				unix.Close(theirs)
			}
		})
	}
}
