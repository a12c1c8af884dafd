package vmm

import (
	"errors"
	"fmt"
	"time"

	"tandem/kvm"
	"tandem/vmm/trace"
)

// cpu is a vCPU and the loop that runs it.
type cpu struct {
	vm    *VM
	id    int
	vcpu  *kvm.VCPU
	trace *trace.CPU // nil when off
}

// run is the vCPU's thread: enter the guest, answer its exit, again. It ends with
// the machine.
func (c *cpu) run() {
	defer c.vm.cpuLeft()
	if err := c.vcpu.Bind(); err != nil {
		c.fail(err)
		return
	}
	defer c.vcpu.Unbind()
	for {
		exit, err := c.enter()
		switch {
		case errors.Is(err, kvm.ErrInterrupted):
			if !c.rest() {
				return
			}
		case err != nil:
			c.fail(err)
			return
		case !c.handle(exit):
			return
		}
	}
}

// enter is KVM_RUN, timed if somebody wants to know.
func (c *cpu) enter() (kvm.Exit, error) {
	if c.trace == nil {
		return c.vcpu.Run()
	}
	start := time.Now()
	exit, err := c.vcpu.Run()
	c.trace.Left(exit, start, time.Now())
	return exit, err
}

// rest waits while the machine is paused; false means that it has ended.
//
// A vCPU comes here only from an interrupted run, and KVM finishes what the last
// exit left half done (a port read whose value is in kvm_run) before it looks at
// immediate_exit: so a parked vCPU's registers are whole.
func (c *cpu) rest() bool {
	goOn, waited := c.vm.life.rest()
	if goOn && waited {
		// Tell the guest's watchdogs that it was not its fault. A guest
		// without kvmclock cannot be told.
		_ = c.vcpu.KVMClockCtrl()
	}
	return goOn
}

// handle answers an exit; false means that this vCPU cannot go on.
func (c *cpu) handle(exit kvm.Exit) bool {
	if c.trace != nil {
		defer c.trace.Handled(exit)
	}
	switch e := exit.(type) {
	case *kvm.IO:
		c.port(e)
		return true
	case *kvm.MMIO:
		c.mmio(e)
		return true
	case *kvm.Shutdown:
		c.tripleFault()
	case *kvm.SystemEvent:
		c.systemEvent(e)
	case *kvm.InternalError:
		c.end(Outcome{Ending: InternalError, Detail: e.String() + c.where()})
	case *kvm.FailEntry:
		c.end(Outcome{Ending: FailEntry, Detail: e.String() + c.where()})
	default:
		c.end(Outcome{Ending: MonitorError, Detail: "exit that this machine does not expect: " + exit.String() + c.where()})
	}
	return false
}

// port is an IN, OUT, INS or OUTS. String instructions come as many accesses to
// one port.
func (c *cpu) port(e *kvm.IO) {
	for data := e.Data; len(data) >= e.Size && e.Size > 0; data = data[e.Size:] {
		if e.In {
			c.vm.pio.Read(uint64(e.Port), data[:e.Size])
		} else {
			c.vm.pio.Write(uint64(e.Port), data[:e.Size])
		}
	}
}

func (c *cpu) mmio(e *kvm.MMIO) {
	if e.Write {
		c.vm.mmio.Write(e.GPA, e.Data)
	} else {
		c.vm.mmio.Read(e.GPA, e.Data)
	}
}

// tripleFault is a shutdown. A kernel that has no other way to reset uses it too,
// so the panic flag counts here as it does for a reset.
func (c *cpu) tripleFault() {
	if c.vm.panicked() {
		c.end(Outcome{Ending: Panic, Detail: "reset by triple fault" + c.where()})
		return
	}
	c.end(Outcome{Ending: TripleFault, Detail: "KVM_EXIT_SHUTDOWN" + c.where()})
}

// systemEvent is a request for the whole machine by a paravirtual interface
// (such as Hyper-V's crash MSRs).
func (c *cpu) systemEvent(e *kvm.SystemEvent) {
	endings := map[kvm.SystemEventType]Ending{
		kvm.SystemEventShutdown: PowerOff,
		kvm.SystemEventReset:    Reboot,
		kvm.SystemEventCrash:    Panic,
	}
	ending, ok := endings[e.Type]
	if !ok {
		ending = MonitorError
	}
	c.end(Outcome{Ending: ending, Detail: e.String()})
}

func (c *cpu) fail(err error) {
	c.end(Outcome{Ending: MonitorError, Err: err})
}

func (c *cpu) end(o Outcome) {
	o.CPU = c.id
	c.vm.end(o)
}

// where tells the instruction pointer, for the message about an exit that ends
// the machine.
func (c *cpu) where() string {
	regs, err := c.vcpu.Regs()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", rip %#x", regs.RIP)
}
