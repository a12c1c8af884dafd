package main

import (
	"fmt"
	"slices"
	"time"

	"tandem/vhost/kernel"
	"tandem/virtio/virtiotest"
)

const rounds = 300

// measure times the way out, from the kick to the frame on the link and to the call; and the way in.
func measure(_ *kernel.Device, g *guest, w *wire) error {
	var onLink, called, in []time.Duration
	b := frame("again")
	g.write(bufferAt, append(make([]byte, headerSize), b...))
	for range rounds {
		out := g.queues[transmitRing]
		out.Offer(virtiotest.Piece{GPA: bufferAt, Len: headerSize + uint32(len(b))})
		start := time.Now()
		if err := out.kick.Signal(); err != nil {
			return err
		}
		if _, err := w.receive(); err != nil {
			return err
		}
		onLink = append(onLink, time.Since(start))
		if _, err := out.wait(); err != nil {
			return err
		}
		called = append(called, time.Since(start))

		room := g.queues[receiveRing]
		room.Offer(virtiotest.Piece{GPA: roomAt, Len: roomSize, Write: true})
		if err := room.kick.Signal(); err != nil {
			return err
		}
		start = time.Now()
		if err := w.send(b); err != nil {
			return err
		}
		if _, err := room.wait(); err != nil {
			return err
		}
		in = append(in, time.Since(start))
	}
	fmt.Printf("%d frames each way, one at a time, medians:\n", rounds)
	fmt.Printf("  from the kick to the tap's link: %.1f us, and to the driver's thread that was called: %.1f us\n", median(onLink), median(called))
	fmt.Printf("  from the link to the driver's thread that was called: %.1f us\n", median(in))
	return nil
}

func median(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[len(list)/2].Nanoseconds()) / 1000
}
