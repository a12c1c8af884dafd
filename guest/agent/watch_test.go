package agent

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// output that a test waits for.
type watched struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed *sync.Cond
}

// newSignal gives a writer, and the same to wait for what is written.
func newSignal() (*watched, *watched) {
	w := &watched{}
	w.changed = sync.NewCond(&w.mu)
	return w, w
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Broadcast()
	return w.text.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// wait waits until text has been written.
func (w *watched) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	defer time.AfterFunc(patience, w.changed.Broadcast).Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !strings.Contains(w.text.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%q has not been written, but %q", text, w.text.String())
		}
		w.changed.Wait()
	}
}

// eventually waits for a condition of the system that nobody announces.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// gone tells whether a process has ended, be it a zombie yet.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return unix.Kill(pid, 0) != nil
	}
	state, _ := parseStat(stat)
	return state == 'Z' || state == 'X'
}
