package net

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio/virtiotest"
)

// pipe is a backend whose cables end in the test's hands.
type pipe struct {
	files    []*os.File
	features uint64

	mu       sync.Mutex
	offloads uint64
	pairs    int
}

// newPipe makes one, and gives the other ends.
func newPipe(t testing.TB, pairs int) (*pipe, []*os.File) {
	t.Helper()
	p := &pipe{features: GuestOffloads | HostOffloads}
	var ends []*os.File
	for i := range pairs {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, os.NewFile(uintptr(fds[0]), fmt.Sprintf("cable %d", i)))
		end := os.NewFile(uintptr(fds[1]), fmt.Sprintf("end %d", i))
		t.Cleanup(func() { end.Close() })
		ends = append(ends, end)
	}
	return p, ends
}

func (p *pipe) Pairs() int             { return len(p.files) }
func (p *pipe) File(pair int) *os.File { return p.files[pair] }
func (p *pipe) Features() uint64       { return p.features }

func (p *pipe) SetOffloads(features uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offloads = features
	return nil
}

func (p *pipe) SetPairs(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pairs = n
	return nil
}

func (p *pipe) now() (offloads uint64, pairs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offloads, p.pairs
}

func (p *pipe) Close() error {
	for _, f := range p.files {
		f.Close()
	}
	return nil
}

// frame is a header and a frame of n bytes to a card, each with a content of its own.
func frame(to [6]byte, n int, seed byte) []byte {
	b := make([]byte, HeaderSize+n)
	b[1] = seed // gso_size and the like are the backend's affair
	copy(b[HeaderSize:], to[:])
	for i := HeaderSize + 6; i < len(b); i++ {
		b[i] = seed + byte(i*7)
	}
	b[HeaderSize+12], b[HeaderSize+13] = 0x08, 0x00
	return b
}

// receiveEnd reads a frame from a cable's end.
func receiveEnd(t testing.TB, end *os.File) []byte {
	t.Helper()
	b := make([]byte, HeaderSize+maxFrame)
	if err := end.SetReadDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
		t.Fatal(err)
	}
	n, err := end.Read(b)
	if err != nil {
		t.Fatalf("nothing came out of the cable: %v", err)
	}
	return b[:n]
}

func sendEnd(t testing.TB, end *os.File, b []byte) {
	t.Helper()
	if _, err := end.Write(b); err != nil {
		t.Fatal(err)
	}
}

// waitFor waits for a condition of the device's that nobody signals.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(virtiotest.Patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
