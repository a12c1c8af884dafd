package vhost

import (
	"testing"
	"time"

	"tandem/internal/eventfd"
	"tandem/internal/testenv"
	"tandem/virtio/memory"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// interrupt counts its signals, and may have an eventfd.
type interrupt struct {
	event *eventfd.FD
	count chan struct{}
}

func (i interrupt) Signal()            { i.count <- struct{}{} }
func (i interrupt) Event() *eventfd.FD { return i.event }

func TestCall(t *testing.T) {
	e, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	direct, err := NewCall(interrupt{event: e})
	if err != nil {
		t.Fatal(err)
	}
	if direct.Event() != e || direct.Relayed() {
		t.Error("an interrupt with an eventfd is relayed")
	}
	direct.Close()
	if err := e.Signal(); err != nil {
		t.Errorf("Close closed the interrupt's own eventfd: %v", err)
	}

	i := interrupt{count: make(chan struct{})}
	c, err := NewCall(i)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Relayed() {
		t.Error("an interrupt without an eventfd is not relayed")
	}
	for range 3 {
		if err := c.Event().Signal(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-i.count:
		case <-time.After(time.Minute):
			t.Fatal("no signal")
		}
	}
	c.Close()
}

func TestAddress(t *testing.T) {
	r, err := memory.Map(0, 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Unmap()
	if a, b := Address(r.Bytes), Address(r.Bytes[4096:]); a == 0 || a%4096 != 0 || b != a+4096 {
		t.Errorf("addresses %#x and %#x", a, b)
	}
}
