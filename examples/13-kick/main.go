// Kick has a guest kick a device that nobody built, in every way there is, and counts on three sides what comes of it: in the
// kernel, in the monitor, and at an eventfd.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A trial is one way to kick.
type trial struct {
	name       string
	code       func(n uint16) []byte
	registered bool
	memory     bool // the doorbell is an address, not a port
}

var trials = []trial{
	{name: "no kick", code: idle},
	{name: "a port, unregistered", code: portKicks},
	{name: "a port, ioeventfd", code: portKicks, registered: true},
	{name: "an address, unregistered", code: memoryKicks, memory: true},
	{name: "an address, ioeventfd", code: memoryKicks, memory: true, registered: true},
}

const kicks = 2000

func run() error {
	t, err := openTracepoints("kvm_pio", "kvm_mmio", "kvm_userspace_exit")
	if err != nil {
		fmt.Println("tracepoints: not here:", err)
	} else {
		fmt.Println("tracepoints: read by an eBPF program each")
		defer t.close()
	}
	fmt.Printf("%d kicks, and the guest's HLT at the end:\n", kicks)
	fmt.Println("                            kvm_pio  kvm_mmio  kvm_userspace_exit  exits seen  eventfd  ns a kick")
	for _, trial := range trials {
		if err := try(trial, t); err != nil {
			return fmt.Errorf("%s: %w", trial.name, err)
		}
	}
	return nil
}

func try(trial trial, t *tracepoints) error {
	m, err := newMachine(trial)
	if err != nil {
		return err
	}
	defer m.close()
	before, err := t.read()
	if err != nil {
		return err
	}
	took, err := m.run()
	if err != nil {
		return err
	}
	after, err := t.read()
	if err != nil {
		return err
	}
	seen := []any{"-", "-", "-"}
	for i := range after {
		seen[i] = after[i] - before[i]
	}
	rung := any("-")
	if trial.registered {
		if rung, err = m.doorbell.Clear(); err != nil {
			return err
		}
	}
	fmt.Printf("  %-24s %8v  %8v  %18v  %10d  %7v  %9d\n",
		trial.name, seen[0], seen[1], seen[2], m.exits, rung, took.Nanoseconds()/kicks)
	return nil
}
