// Virtqueue is both sides of a virtqueue in one process: a driver made by hand, and tandem's device side. It draws the
// queue after each step, and then counts what kicks and calls cost.
package main

import (
	"errors"
	"fmt"
	"os"

	"tandem/virtio/queue"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := oneRequest(); err != nil {
		return err
	}
	if err := outOfOrder(); err != nil {
		return err
	}
	return suppression()
}

// oneRequest takes one request all the way round.
func oneRequest() error {
	s, err := newSet(4, false)
	if err != nil {
		return err
	}
	defer s.close()
	d := s.driver
	fmt.Println("One request:")
	fmt.Println("  the driver has three tables of zeroes, and tells the device where they are")
	d.draw()

	d.describe(1, buffersAt, 5, descNext, 2)
	d.describe(2, buffersAt+0x10, 16, descWrite, 0)
	copy(d.memory[buffersAt:], "hello")
	fmt.Println("  it describes a chain: 5 bytes to be read, and then 16 to be written")
	d.draw()

	d.slot(1)
	fmt.Println("  it puts the chain's head into the next slot: the device cannot see that yet")
	d.draw()
	d.publish()
	fmt.Println("  it raises idx: now the chain is the device's")
	d.draw()
	if d.wantsKick() {
		if err := s.ring(); err != nil {
			return err
		}
	}
	fmt.Println("  the device has not asked for silence: a kick")

	if _, err := s.kick.Wait(); err != nil {
		return err
	}
	var c queue.Chain
	if ok, err := s.device.Pop(&c); err != nil || !ok {
		return fmt.Errorf("nothing to pop: %w", err)
	}
	fmt.Printf("  the device wakes, and pops chain %d: to read %q, to write %d bytes\n", c.Head, c.Readable[0], c.WriteLen)
	written := answer(&c)
	s.device.Push(c.Head, written)
	fmt.Printf("  it writes %d bytes, and puts head:length into the next slot: the driver cannot see that yet\n", written)
	d.draw()
	s.device.Publish()
	fmt.Println("  it raises idx, and calls")
	d.draw()

	if _, err := s.call.Wait(); err != nil {
		return err
	}
	head, n, ok, err := d.take()
	if err != nil || !ok {
		return fmt.Errorf("nothing to take: %w", err)
	}
	fmt.Printf("  the driver wakes, and takes chain %d back: %q\n", head, d.memory[buffersAt+0x10:][:n])
	return nil
}

// outOfOrder has three requests in flight, answered in another order, until the rings have gone round.
func outOfOrder() error {
	s, err := newSet(4, false)
	if err != nil {
		return err
	}
	defer s.close()
	d := s.driver
	fmt.Println("Three at a time, answered last first:")
	var chains [3]queue.Chain
	for round := range 2 {
		for i := range uint16(3) {
			d.describe(i, buffersAt+uint64(i)*16, 16, descWrite, 0)
			d.slot(i)
		}
		d.publish()
		for i := range chains {
			if ok, err := s.device.Pop(&chains[i]); err != nil || !ok {
				return fmt.Errorf("nothing to pop: %w", err)
			}
		}
		fmt.Printf("  round %d: %d are in flight\n", round+1, s.device.InFlight())
		for i := range chains {
			c := &chains[len(chains)-1-i]
			s.device.Push(c.Head, answer(c))
		}
		s.device.Publish()
		for range chains {
			if _, _, ok, err := d.take(); err != nil || !ok {
				return errors.Join(errors.New("nothing to take"), err)
			}
		}
	}
	fmt.Println("  idx counts on, and slot is idx modulo 4: the sixth chain stands where the second stood")
	d.draw()
	fmt.Printf("  one publish for three chains: %d calls\n", s.calls)
	return nil
}
