package vmm

import (
	"context"

	"tandem/internal/plan"
	"tandem/virtio/memory"
)

// State is where a machine is in its life.
type State uint8

// The states of a machine.
const (
	Created State = iota // set up; no vCPU has run
	Running
	Paused
	Ended // see Wait
	Closed
)

// VM is a machine. All methods may be called from any goroutine at any time.
type VM struct{ _ int }

// Plan lists what New would ask of the kernel for the spec, with no need of
// root or KVM. The files that the spec names are read, as the list follows from
// what is in them.
func Plan(spec Spec) (*plan.Plan, error) { return nil, nil }

// New makes the machine, to its last register, and runs nothing yet. The error
// for a bad spec names every bad value.
func New(ctx context.Context, spec Spec) (*VM, error) { return nil, nil }

// Start lets the vCPUs run.
func (vm *VM) Start() error { return nil }

// Wait waits for the machine's end. The error is ctx's.
func (vm *VM) Wait(ctx context.Context) (Outcome, error) { return Outcome{}, nil }

// Pause stops every vCPU between two instructions. When it returns nil, no guest
// code runs until Resume.
func (vm *VM) Pause(ctx context.Context) error { return nil }

// Resume goes on after a Pause.
func (vm *VM) Resume() error { return nil }

// Stop ends the machine as pulling its plug would. Wait tells of it as Stopped,
// unless another ending came first.
func (vm *VM) Stop() {}

// State is where the machine is in its life.
func (vm *VM) State() State { return Created }

// Memory is the guest's memory.
func (vm *VM) Memory() *memory.Space { return nil }

// Close stops the machine if it runs, and gives everything back.
func (vm *VM) Close() error { return nil }

// Cmdline is the kernel command line that this machine wants, without what
// concerns the root file system: console, clock, and how to reset, so that a
// panic can be told from a reboot.
func Cmdline() string { return "" }
