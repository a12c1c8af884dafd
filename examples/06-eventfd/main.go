// Eventfd connects a guest and a device by two eventfds, and counts the exits
// that are left.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := counter(); err != nil {
		return err
	}
	fmt.Println("The device in the vCPU's thread, by exits and an ioctl:")
	if err := serve(withExits); err != nil {
		return err
	}
	fmt.Println("The device in a thread of its own, by ioeventfd and irqfd:")
	return serve(withEventFDs)
}

// counter shows what an eventfd is: 64 bits in the kernel. A write adds, a
// read takes all and waits for more if there is nothing.
func counter() error {
	fmt.Println("An eventfd alone:")
	e, err := newEvent()
	if err != nil {
		return err
	}
	defer e.close()
	for _, n := range []uint64{1, 1, 5} {
		if err := e.add(n); err != nil {
			return err
		}
	}
	n, err := e.take()
	if err != nil {
		return err
	}
	fmt.Printf("  1 and 1 and 5 written, %d read\n", n)
	return nil
}

// serve runs the guest, a driver that makes requests one after the other,
// with one of two ways to connect the device.
func serve(connect func(m *machine) (stop func() error, err error)) error {
	m, err := newMachine()
	if err != nil {
		return err
	}
	defer m.close()
	stop, err := connect(m)
	if err != nil {
		return err
	}
	err = m.run()
	if stopErr := stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	fmt.Printf("  %d requests, %d interrupts, %d exits to this process\n",
		requests, binary.LittleEndian.Uint16(m.memory[interruptsAt:]), m.exits)
	return nil
}

// withExits: each request is an exit, and each answer an ioctl.
func withExits(m *machine) (func() error, error) {
	m.request = func() error {
		if err := m.vm.SetIRQLine(gsi, true); err != nil {
			return err
		}
		return m.vm.SetIRQLine(gsi, false)
	}
	return func() error { return nil }, nil
}

// withEventFDs: the kernel turns the guest's write into a write to kick, and
// a write to call into an interrupt. The vCPU's thread has no part in it.
func withEventFDs(m *machine) (func() error, error) {
	kick, err := newEvent()
	if err != nil {
		return nil, err
	}
	call, err := newEvent()
	if err != nil {
		return nil, errors.Join(err, kick.close())
	}
	if err := m.vm.SetIOEventFD(kvm.IOEvent{Addr: doorbell, PIO: true, Len: 1, EventFD: kick.fd}); err != nil {
		return nil, errors.Join(err, kick.close(), call.close())
	}
	if err := m.vm.SetIRQFD(call.fd, gsi); err != nil {
		return nil, errors.Join(err, kick.close(), call.close())
	}
	served := make(chan error)
	go func() { served <- device(kick, call) }()
	return func() error {
		return errors.Join(kick.add(stopDevice), <-served, kick.close(), call.close())
	}, nil
}

// stopDevice is more than a guest can have asked for.
const stopDevice = 1 << 32

// device answers each request with an interrupt.
func device(kick, call *event) error {
	for {
		n, err := kick.take()
		if err != nil || n >= stopDevice {
			return err
		}
		if err := call.add(1); err != nil {
			return err
		}
	}
}

// event is an eventfd, by hand.
type event struct{ fd int }

func newEvent() (*event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	return &event{fd}, err
}

func (e *event) add(n uint64) error {
	_, err := unix.Write(e.fd, binary.NativeEndian.AppendUint64(nil, n))
	return err
}

func (e *event) take() (uint64, error) {
	var buf [8]byte
	for {
		_, err := unix.Read(e.fd, buf[:])
		if !errors.Is(err, unix.EINTR) {
			return binary.NativeEndian.Uint64(buf[:]), err
		}
	}
}

func (e *event) close() error { return unix.Close(e.fd) }
