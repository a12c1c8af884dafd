package vsock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// probe connects both ways, and moves some bytes. A guest that has no more than its receive queue is asked for a
// connection only. No buffer is left behind.
func probe(g *virtiotest.Guest) {
	g.Helper()
	dev := g.Dev.(*Device)
	d := adopt(g, 0)
	d.lazy = true
	if len(g.Rings) <= transmitQueue {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			_, err := dev.DialContext(ctx, 9)
			done <- err
		}()
		d.expect(opRequest)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			g.Fatalf("dial: %v", err)
		}
		d.expect(opReset)
		return
	}
	probeSockets(d, dev)
}

func probeSockets(d *driver, dev *Device) {
	d.Helper()
	g := d.Guest
	unix := dialSocket(g, dev.spec.Path)
	defer unix.Close()
	fmt.Fprintf(unix, "CONNECT 1234\n")
	p := d.answer(1234)
	if line, err := bufio.NewReader(unix).ReadString('\n'); err != nil || line != fmt.Sprintf("OK %d\n", p.tuple.host) {
		g.Fatalf("the program reads %q, %v", line, err)
	}
	fmt.Fprintf(unix, "ping")
	if got := p.read(4); string(got) != "ping" {
		g.Fatalf("the guest reads %q", got)
	}
	p.write([]byte("pong"))
	got := make([]byte, 4)
	if _, err := io.ReadFull(unix, got); err != nil || string(got) != "pong" {
		g.Fatalf("the program reads %q, %v", got, err)
	}
	p.send(opReset, 0)
	if n, err := unix.Read(got); err != io.EOF {
		g.Fatalf("the program reads %d bytes, %v", n, err)
	}
}

func TestConformance(t *testing.T) {
	virtiotest.Suite{
		New:   func(t testing.TB) virtio.Device { return newDevice(t, Spec{}) },
		Probe: probe,
	}.Run(t)
}

var _ net.Conn = stream{}
