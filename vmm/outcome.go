package vmm

import (
	"fmt"
	"time"

	"tandem/vmm/boottimer"
)

// Ending is why a machine stopped.
type Ending uint8

// The endings.
const (
	// PowerOff: the guest entered ACPI state S5.
	PowerOff Ending = iota + 1
	// Reboot: the guest reset the machine, in any of the ways it has.
	Reboot
	// Panic: the guest's kernel panicked and reset the machine.
	Panic
	// TripleFault: a vCPU met a fault while it handled a double fault, and
	// shut down (KVM_EXIT_SHUTDOWN).
	TripleFault
	// InternalError: KVM could not go on with a vCPU
	// (KVM_EXIT_INTERNAL_ERROR), most often an instruction that it cannot
	// emulate.
	InternalError
	// FailEntry: the processor refused a vCPU's state (KVM_EXIT_FAIL_ENTRY).
	FailEntry
	// MonitorError: the monitor's own failure: KVM_RUN gave an errno, or an
	// exit that this machine does not know.
	MonitorError
	// Stopped: someone called Stop.
	Stopped
)

var endings = map[Ending]struct {
	name   string
	status int
}{
	PowerOff:      {"power-off", 0},
	Reboot:        {"reboot", 120},
	Panic:         {"panic", 121},
	TripleFault:   {"triple fault", 122},
	InternalError: {"KVM internal error", 123},
	FailEntry:     {"failed VM entry", 124},
	MonitorError:  {"monitor error", 125},
	Stopped:       {"stopped", 130},
}

func (e Ending) String() string {
	if d, ok := endings[e]; ok {
		return d.name
	}
	return fmt.Sprintf("Ending(%d)", uint8(e))
}

// MarshalText is String, for JSON.
func (e Ending) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// ExitStatus is the status that a command which ran the machine should exit
// with when it has nothing better, such as the status of a command that it
// ran in the guest:
//
//	0    power-off
//	120  reboot
//	121  the guest's kernel panicked
//	122  triple fault
//	123  KVM internal error
//	124  failed VM entry
//	125  the monitor's own error
//	130  stopped by the user
func (e Ending) ExitStatus() int {
	if d, ok := endings[e]; ok {
		return d.status
	}
	return 125
}

// Outcome is how a machine's run ended.
type Outcome struct {
	Ending Ending `json:"ending"`
	// CPU is the vCPU that it happened on, -1 for none.
	CPU int `json:"cpu"`
	// Detail says more, on one line: the register that was written, the exit
	// that KVM gave. May be empty.
	Detail string `json:"detail,omitempty"`
	// Err is set for MonitorError, and where the kernel gave an errno.
	Err error `json:"-"`
	// Run is how long the vCPUs were running, from Start, pauses included.
	Run time.Duration `json:"run"`
	// Marks are what the guest wrote to the boot timer.
	Marks []Mark `json:"marks,omitempty"`
}

// Mark is a byte that the guest wrote to the boot timer, and when.
type Mark = boottimer.Mark

// String is one line: "panic on vcpu 0 after 1.2s: reset register".
func (o Outcome) String() string {
	s := o.Ending.String()
	if o.CPU >= 0 {
		s += fmt.Sprintf(" on vcpu %d", o.CPU)
	}
	s += fmt.Sprintf(" after %v", o.Run.Round(time.Millisecond))
	if o.Detail != "" {
		s += ": " + o.Detail
	}
	if o.Err != nil {
		s += ": " + o.Err.Error()
	}
	return s
}
