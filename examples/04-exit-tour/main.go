// Exit-tour provokes every exit that KVM on x86 knows, and shows what is in
// it. A guest of a few bytes is made for each.
package main

import (
	"errors"
	"fmt"
	"os"

	"tandem/kvm"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	sys, err := kvm.Open()
	if err != nil {
		return err
	}
	defer sys.Close()
	for _, s := range stops {
		fmt.Printf("%s: %s\n", s.reason, s.what)
		if err := s.visit(sys); err != nil {
			return fmt.Errorf("%s: %w", s.reason, err)
		}
	}
	fmt.Println("Not on this tour:")
	for _, l := range leftOut {
		fmt.Printf("  %s: %s\n", l.reason, l.why)
	}
	return nil
}

// stop is one exit and how to get there.
type stop struct {
	reason string // the kernel's KVM_EXIT_ name
	what   string // what the guest does
	mode   mode
	code   []byte
	// needs is a capability without which there is no such exit; 0 for none.
	needs kvm.Capability
	// beforeCPU and before change the VM, and then its vCPU; both may be nil.
	beforeCPU func(m *machine) error
	before    func(m *machine) error
	// answer is called for the exit; nil if there is nothing to answer.
	answer func(m *machine, exit kvm.Exit) error
	// instead tells what it means if the guest came to a HLT without the
	// exit; empty if that must not be.
	instead string
}

// visit runs the guest until the exit that it is made for, and prints it.
func (s stop) visit(sys *kvm.System) error {
	m, err := newMachine(sys, s)
	var missing *kvm.NotSupportedError
	if errors.As(err, &missing) {
		fmt.Printf("  not here: this KVM has no %v\n", missing.Capability)
		return nil
	}
	if err != nil {
		return err
	}
	defer m.close()
	for {
		exit, err := m.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			if s.reason == "INTR" {
				fmt.Println("  no exit, but", err)
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		switch {
		case exit.Reason().String() == s.reason:
			fmt.Println(" ", exit)
			if s.answer == nil {
				return nil
			}
			return s.answer(m, exit)
		case exit.Reason() == kvm.ReasonHLT && s.instead != "":
			fmt.Println("  not here:", s.instead)
			return nil
		default:
			return fmt.Errorf("the guest made another exit: %v", exit)
		}
	}
}
