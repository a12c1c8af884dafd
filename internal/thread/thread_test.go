package thread

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onFirst is what throwaway gave f when it was called on the process's first thread: the thread that f ran on.
var onFirst int

func init() { runtime.LockOSThread() } // so that TestMain runs on the first thread

func TestMain(m *testing.M) {
	throwaway(func() { onFirst = unix.Gettid() })
	runtime.UnlockOSThread()
	os.Exit(m.Run())
}

func TestFirstThread(t *testing.T) {
	if onFirst == 0 || onFirst == unix.Getpid() {
		t.Errorf("f ran on thread %d of process %d", onFirst, unix.Getpid())
	}
}

// The thread is gone soon after.
func TestThrowaway(t *testing.T) {
	var id int
	Throwaway(func() { id = unix.Gettid() })
	if id == unix.Getpid() {
		t.Fatal("f ran on the process's first thread")
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", id)); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d is still there", id)
		}
		runtime.Gosched()
	}
}
