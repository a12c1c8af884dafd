// Vhostnet has the kernel serve two virtqueues that lie in this process's memory: there is no guest, and no KVM. A frame goes
// each way, through a tap.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"tandem/vhost/kernel"
	"tandem/virtio/virtiotest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() (err error) {
	w, err := newWire()
	if err != nil {
		return err
	}
	defer w.close()
	g, err := newGuest()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()

	fmt.Println("The kernel is told of two queues:")
	dev, err := kernel.Open(kernel.NetPath)
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := tell(dev, g); err != nil {
		return err
	}
	steps := []func(*kernel.Device, *guest, *wire) error{transmit, receive, measure, takeBack}
	for _, step := range steps {
		if err := step(dev, g, w); err != nil {
			return err
		}
	}
	return nil
}

// transmit sends a frame.
func transmit(dev *kernel.Device, g *guest, w *wire) error {
	fmt.Println("A frame out:")
	sent := frame("out of the ring")
	g.write(bufferAt, append(make([]byte, headerSize), sent...))
	q := g.queues[transmitRing]
	q.Offer(virtiotest.Piece{GPA: bufferAt, Len: headerSize}, virtiotest.Piece{GPA: bufferAt + headerSize, Len: uint32(len(sent))})
	fmt.Printf("  the driver offers a chain: a header of %d zeroes, and %d bytes; and kicks\n", headerSize, len(sent))
	if err := q.kick.Signal(); err != nil {
		return err
	}
	g.draw(transmitRing)
	fmt.Println("  nothing happens: the queue leads nowhere yet")
	for i, name := range ringNames {
		if err := dev.SetNetBackend(i, g.tap(w)); err != nil {
			return err
		}
		fmt.Printf("  VHOST_NET_SET_BACKEND %s: the tap\n", name)
	}
	// What was offered before is found with the next kick.
	if err := q.kick.Signal(); err != nil {
		return err
	}
	if _, err := q.wait(); err != nil {
		return err
	}
	fmt.Println("  the kernel's thread has written the frame to the tap, and calls")
	g.draw(transmitRing)
	got, err := w.receive()
	if err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("%q came out of the tap, want %q", got, sent)
	}
	fmt.Printf("  on the tap's link: %q\n", text(got))
	return nil
}

// receive gets one.
func receive(_ *kernel.Device, g *guest, w *wire) error {
	fmt.Println("A frame in:")
	q := g.queues[receiveRing]
	q.Offer(virtiotest.Piece{GPA: roomAt, Len: roomSize, Write: true})
	if err := q.kick.Signal(); err != nil {
		return err
	}
	fmt.Printf("  the driver offers room for %d bytes\n", roomSize)
	g.draw(receiveRing)
	sent := frame("into the ring")
	if err := w.send(sent); err != nil {
		return err
	}
	fmt.Println("  somebody sends a frame over the tap's link; the kernel's thread reads it into the room, and calls")
	u, err := q.wait()
	if err != nil {
		return err
	}
	g.draw(receiveRing)
	got := g.read(roomAt, int(u.Len))
	if !bytes.Equal(got[headerSize:], sent) {
		return fmt.Errorf("%q came into the ring, want %q", got, sent)
	}
	fmt.Printf("  the driver finds a header of %d bytes, num_buffers %d, and %q\n", headerSize, got[numBuffersAt], text(got[headerSize:]))
	return nil
}

// takeBack ends it, and has the kernel say how far it came.
func takeBack(dev *kernel.Device, _ *guest, _ *wire) error {
	fmt.Println("The queues are taken back:")
	for i, name := range ringNames {
		if err := dev.SetNetBackend(i, kernel.NoFile); err != nil {
			return err
		}
		base, err := dev.VringBase(i)
		if err != nil {
			return err
		}
		fmt.Printf("  VHOST_NET_SET_BACKEND %s: none; VHOST_GET_VRING_BASE: %d, where another one would go on\n", name, base)
	}
	return nil
}
