package vmm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"tandem/internal/plan"
	"tandem/kvm"
	"tandem/virtio/memory"
	"tandem/vmm/boottimer"
	"tandem/vmm/bus"
	"tandem/vmm/layout"
	"tandem/vmm/pci"
	"tandem/vmm/rtc"
	"tandem/vmm/serial"
)

// VM is a machine. All methods may be called from any goroutine at any time.
type VM struct {
	spec Spec
	life life

	sys    *kvm.System
	kvm    *kvm.VM
	cpuid  []kvm.CPUIDEntry // what the host supports
	memory *memory.Space
	irq    *interrupts
	pio    *bus.Bus
	mmio   *bus.Bus
	pci    *pci.Bus
	serial [2]*serial.UART
	rtc    *rtc.Clock
	timer  *boottimer.Timer
	cpus   []*cpu

	undo      *plan.Done
	closeOnce sync.Once
	closeErr  error
}

// New makes the machine, to its last register, and runs nothing yet. The error
// for a bad spec names every bad value.
func New(ctx context.Context, spec Spec) (*VM, error) {
	s, err := newSetup(spec)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.vm.undo, err = s.plan.Run(ctx)
	if err != nil {
		return nil, fmt.Errorf("vmm: %w", err)
	}
	return s.vm, nil
}

// Plan lists what New would ask of the kernel for the spec, with no need of
// root or KVM. The files that the spec names are read, as the list follows from
// what is in them. The plan is for printing: Run fails.
func Plan(spec Spec) (*plan.Plan, error) {
	s, err := newSetup(spec)
	if err != nil {
		return nil, err
	}
	s.close()
	for i := range s.plan.Phases {
		for j := range s.plan.Phases[i].Steps {
			s.plan.Phases[i].Steps[j].Do = func() error { return errPrinted }
		}
	}
	return s.plan, nil
}

// Start lets the vCPUs run.
func (vm *VM) Start() error {
	if err := vm.life.start(len(vm.cpus)); err != nil {
		return err
	}
	for _, c := range vm.cpus {
		go c.run()
	}
	return nil
}

// Wait waits for the machine's end. The error is ctx's.
func (vm *VM) Wait(ctx context.Context) (Outcome, error) {
	select {
	case <-vm.life.done:
		return vm.life.result(), nil
	case <-ctx.Done():
		return Outcome{}, fmt.Errorf("vmm: wait: %w", context.Cause(ctx))
	}
}

// Done is closed when the machine has ended, and Wait would return at once.
func (vm *VM) Done() <-chan struct{} { return vm.life.done }

// Pause stops every vCPU between two instructions. When it returns nil, no guest
// code runs until Resume. What devices had begun goes on to its end.
func (vm *VM) Pause(ctx context.Context) error { return vm.life.halt(ctx, vm.kick) }

// Resume goes on after a Pause.
func (vm *VM) Resume() error { return vm.life.resume() }

// Stop ends the machine as pulling its plug would. Wait tells of it as Stopped,
// unless another ending came first. It does not wait.
func (vm *VM) Stop() { vm.end(Outcome{Ending: Stopped, CPU: -1}) }

// State is where the machine is in its life.
func (vm *VM) State() State { return vm.life.current() }

// Memory is the guest's memory. It must not be used after Close.
func (vm *VM) Memory() *memory.Space { return vm.memory }

// Marks are what the guest wrote to the boot timer so far.
func (vm *VM) Marks() []Mark { return vm.timer.Marks() }

// kick makes every vCPU look at its machine's state.
func (vm *VM) kick() {
	for _, c := range vm.cpus {
		// A vCPU that no thread runs yet, or any more, needs no signal:
		// its next run comes back at once.
		_ = c.vcpu.Kick()
	}
}

// end ends the machine, if nothing has yet. It may be called by a device on a
// vCPU's thread.
func (vm *VM) end(o Outcome) {
	o.Marks = vm.timer.Marks()
	first, idle := vm.life.end(o)
	if !first {
		return
	}
	vm.kick()
	if idle {
		vm.quiet()
	}
}

// cpuLeft counts a vCPU's thread out.
func (vm *VM) cpuLeft() {
	if vm.life.left() {
		vm.quiet()
	}
}

// patience is how long a machine that has ended waits for what its serial ports
// have sent to be written. A pipe whose reader stopped must not keep it for ever.
const patience = 5 * time.Second

// quiet runs once, when no vCPU runs any more.
func (vm *VM) quiet() {
	var wait sync.WaitGroup
	for _, port := range vm.serial {
		wait.Go(func() { port.Close(patience) })
	}
	wait.Wait()
	close(vm.life.done)
}

// powerOff is the guest entering S5.
func (vm *VM) powerOff() {
	vm.end(Outcome{Ending: PowerOff, CPU: -1, Detail: "ACPI S5"})
}

// reset is the guest pulling a reset line: a reboot, or the end of a panic.
func (vm *VM) reset(how string) {
	o := Outcome{Ending: Reboot, CPU: -1, Detail: how}
	if vm.panicked() {
		o.Ending = Panic
	}
	vm.end(o)
}

// panicked reads the flag by which a panic is told from a reboot; see [Cmdline].
func (vm *VM) panicked() bool {
	flag, err := vm.memory.Slice(layout.ResetFlag, 2)
	return err == nil && binary.LittleEndian.Uint16(flag) == layout.ResetFlagWarm
}

// Close stops the machine if it runs, and gives everything back. Later calls
// return what the first did.
func (vm *VM) Close() error {
	vm.closeOnce.Do(func() {
		vm.Stop()
		<-vm.life.done
		vm.closeErr = vm.undo.Undo()
		vm.life.close()
	})
	return vm.closeErr
}

// Cmdline is the kernel command line that this machine wants, without what
// concerns the root file system: where the console is, and how to leave.
//
// A panic and a reboot both end in a reset. To tell them apart with no device of
// our own, the kernel is asked to reset at once when it panics (panic=-1) and to
// call that a warm reset (reboot=panic_warm): it then leaves 0x1234 in the BIOS
// data area at 0x472, where an ordinary reboot leaves 0.
func Cmdline() string {
	return "console=ttyS0 panic=-1 reboot=panic_warm"
}

// errPrinted is what the steps of a plan that was made for printing return.
var errPrinted = errors.New("vmm: this plan is for printing only")
