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

func mustWake(t *testing.T, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Fatalf("Wait = %v, want %v", err, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("Wait is still blocked")
	}
}

// mustSleep waits until the waiter's thread sleeps in the kernel.
func mustSleep(t *testing.T, done <-chan error) {
	t.Helper()
	for !sleeping() {
		select {
		case err := <-done:
			t.Fatalf("Wait = %v: it does not sleep", err)
		default:
		}
	}
	select {
	case err := <-done:
		t.Fatalf("Wait = %v: it does not sleep", err)
	case <-time.After(20 * time.Millisecond): // it may have passed by epoll_wait only
	}
}

func TestWaiterSeesEdges(t *testing.T) {
	e := newFD(t)
	e.Signal()
	w := newWaiter(t, e)
	mustWake(t, waiting(w), nil) // of before
	for range 3 {
		done := waiting(w)
		mustSleep(t, done) // though the counter is not zero
		e.Signal()
		mustWake(t, done, nil)
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
		done := waiting(w)
		mustSleep(t, done)
		wake()
		mustWake(t, done, nil)
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
	a, b := waiting(newWaiter(t, e)), waiting(newWaiter(t, e))
	mustSleep(t, a)
	mustSleep(t, b)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	mustWake(t, a, os.ErrClosed)
	mustWake(t, b, os.ErrClosed)
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
				mustWake(t, done, os.ErrClosed)
				over.Store(true)
				<-ended
				unix.Close(theirs)
			}
		})
	}
}
