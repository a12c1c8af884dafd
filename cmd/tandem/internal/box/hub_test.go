package box

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newTestHub is a keeper's hub without a box. Its folder's path is longer than a socket's may be.
func newTestHub(t *testing.T, hold bool) (*hub, *Record) {
	t.Helper()
	r := &Record{ID: newID(), handover: Handover{Hold: hold}, home: &Home{Run: filepath.Join(t.TempDir(), strings.Repeat("long", 40))}}
	if err := os.MkdirAll(r.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := newHub(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h, r
}

func (r *Record) mustAttach(t *testing.T) *Attachment {
	t.Helper()
	a, err := r.attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// TestHub gives all that the box writes to all, in its order, also to one who reads slowly.
func TestHub(t *testing.T) {
	h, r := newTestHub(t, false)
	type end struct {
		out, errs bytes.Buffer
		exit      Exit
		err       error
	}
	ends := make([]end, 3)
	done := make(chan int)
	for i := range ends {
		a := r.mustAttach(t)
		go func() {
			ends[i].exit, ends[i].err = a.Follow(&ends[i].out, &ends[i].errs)
			done <- i
		}()
	}
	for { // all are there
		h.mu.Lock()
		n := len(h.clients)
		h.mu.Unlock()
		if n == len(ends) {
			break
		}
	}
	text := bytes.Repeat([]byte("all of it\n"), 1<<20)
	if _, err := h.output("stdout").Write(text); err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.SplitAfter(text[:100_000], []byte("\n")) {
		if _, err := h.output("stderr").Write(line); err != nil {
			t.Fatal(err)
		}
	}
	h.ended(Exit{Status: 7})
	for range ends {
		e := &ends[<-done]
		if e.err != nil || e.exit.Status != 7 || !bytes.Equal(e.out.Bytes(), text) || !bytes.Equal(e.errs.Bytes(), text[:100_000]) {
			t.Errorf("%d and %d bytes, %+v, %v", e.out.Len(), e.errs.Len(), e.exit, e.err)
		}
	}
	if info, err := os.Stat(r.file(attachSocket)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
}

// TestHubDrops does not wait for ever for one who does not read.
func TestHubDrops(t *testing.T) {
	h, r := newTestHub(t, false)
	h.patience = 50 * time.Millisecond
	a := r.mustAttach(t)
	for dropped := false; !dropped; {
		if _, err := h.output("stdout").Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		select {
		case <-h.arrived:
			dropped = len(h.clients) == 0
		default:
		}
		h.mu.Unlock()
	}
	h.ended(Exit{})
	if _, err := a.Follow(&bytes.Buffer{}, &bytes.Buffer{}); !errors.Is(err, ErrLeft) && !errors.Is(err, errFrame) {
		t.Errorf("%v, want %v", err, ErrLeft)
	}
}

// TestHubHolds holds output back for the first to come.
func TestHubHolds(t *testing.T) {
	h, r := newTestHub(t, true)
	if _, err := h.output("stdout").Write([]byte("early\n")); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.awaitFirst()
		h.ended(Exit{Status: 3})
	}()
	var out bytes.Buffer
	exit, err := r.mustAttach(t).Follow(&out, &out)
	<-done
	if err != nil || exit.Status != 3 || out.String() != "early\n" {
		t.Errorf("%q, %+v, %v", out.String(), exit, err)
	}
}
