package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"tandem/kvm"
	"tandem/vmm/bus"
)

// Tracer writes events and counts them. A nil *Tracer is off: all its methods
// may be called. Its recorders may be used from any number of threads at once.
type Tracer struct {
	set    Set
	format Format
	start  time.Time

	mu     sync.Mutex // guards out, and keeps lines whole
	out    io.Writer
	counts []*counts // of all recorders; guarded by mu

	reports *counts // of Report

	devices []*device // whose queues are traced; guarded by mu
	ctx     context.Context
	end     context.CancelFunc // of those who follow the devices
}

// New makes a tracer of the kinds in set. It writes each event to out at once, in
// the thread that it happens in, but for those of virtqueues: these are stamped by
// the device, and written by somebody else, soon after. Times count from now.
func New(out io.Writer, set Set, format Format) *Tracer {
	t := &Tracer{set: set, format: format, out: out, start: time.Now()}
	t.ctx, t.end = context.WithCancel(context.Background())
	t.reports = t.counter("virtio")
	return t
}

func (t *Tracer) has(kind Set) bool { return t != nil && t.set&kind != 0 }

// record is one event, with the fields that its kind has.
type record struct {
	Time   float64 `json:"t"` // seconds since the tracer was made
	Kind   string  `json:"kind"`
	Object string  `json:"object"` // vm, vcpu 0, a device
	Name   string  `json:"name"`   // of the ioctl, exit, access, stage
	Detail string  `json:"detail,omitempty"`
	Result *int    `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
	// Nanos is how long it took: an ioctl; for an exit, the stay in the guest
	// before it.
	Nanos int64 `json:"ns,omitempty"`

	text string // the line for people, without time and kind
}

// write puts the record out. An error of the writer is not the machine's affair.
func (t *Tracer) write(at time.Time, r record) {
	if t.format == None {
		return
	}
	r.Time = at.Sub(t.start).Seconds()
	var line []byte
	if t.format == JSON {
		line, _ = json.Marshal(r) // strings and numbers always marshal
		line = append(line, '\n')
	} else {
		line = fmt.Appendf(nil, "%11.6f %-6s %s\n", r.Time, r.Kind, r.text)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.out.Write(line)
}

// KVM gives the hook for package kvm, nil if ioctls are not traced.
func (t *Tracer) KVM() kvm.Tracer {
	if !t.has(KVM) {
		return nil
	}
	c := t.counter("kvm")
	return func(call kvm.Call) {
		name := call.Request.String()
		c.add(name, call.Duration)
		if t.format == None {
			return
		}
		r := record{
			Kind: "kvm", Object: call.Object, Name: name, Detail: call.Argument(),
			Nanos: call.Duration.Nanoseconds(), text: call.String(),
		}
		if call.Err != nil {
			r.Error = call.Err.Error()
		} else {
			r.Result = &call.Result
		}
		t.write(call.Start.Add(call.Duration), r)
	}
}

// CPU gives the recorder of a vCPU's exits, nil if they are not traced.
func (t *Tracer) CPU(id int) *CPU {
	if !t.has(Exits) {
		return nil
	}
	return &CPU{t: t, object: fmt.Sprintf("vcpu %d", id), guest: t.counter("guest"), handled: t.counter("exit")}
}

// CPU records the exits of one vCPU, on its thread.
type CPU struct {
	t       *Tracer
	object  string
	guest   *counts // time in the guest, by the exit that ended it
	handled *counts // time in the monitor, by exit
	left    time.Time
}

// Left is told that the vCPU, which entered the guest at entered, left it at left.
// A nil exit is a run that was interrupted.
func (c *CPU) Left(exit kvm.Exit, entered, left time.Time) {
	name := exitName(exit)
	stay := left.Sub(entered)
	c.guest.add(name, stay)
	c.left = left
	if c.t.format == None {
		return
	}
	detail := name
	if exit != nil {
		detail = exit.String()
	}
	c.t.write(left, record{
		Kind: "exit", Object: c.object, Name: name, Detail: detail, Nanos: stay.Nanoseconds(),
		text: fmt.Sprintf("%s: %s <guest %v>", c.object, detail, stay),
	})
}

// Handled is told that the exit was answered.
func (c *CPU) Handled(exit kvm.Exit) { c.handled.add(exitName(exit), time.Since(c.left)) }

// exitName is an exit's kind with its direction. It tells no address: those are
// the guest's choice, and without bound.
func exitName(exit kvm.Exit) string {
	switch e := exit.(type) {
	case nil:
		return "interrupted"
	case *kvm.IO:
		if e.In {
			return "IO in"
		}
		return "IO out"
	case *kvm.MMIO:
		if e.Write {
			return "MMIO write"
		}
		return "MMIO read"
	}
	return exit.Reason().String()
}

// Bus gives the observer of a bus, nil if accesses are not traced.
func (t *Tracer) Bus(name string) bus.Observer {
	if !t.has(Bus) {
		return nil
	}
	c := t.counter("bus")
	return func(a bus.Access) {
		device, verb := a.Device, "read"
		if device == "" {
			device = "(nobody)"
		}
		if a.Write {
			verb = "write"
		}
		c.add(name+" "+device+" "+verb, 0)
		if t.format == None {
			return
		}
		detail := fmt.Sprintf("%#x = % x", a.Addr, a.Data)
		t.write(time.Now(), record{
			Kind: "bus", Object: device, Name: name + " " + verb, Detail: detail,
			text: fmt.Sprintf("%s %s: %s %s", name, device, verb, detail),
		})
	}
}

// Report notes an error that a device met, if virtio is traced.
func (t *Tracer) Report(device string, err error) {
	if !t.has(Virtio) {
		return
	}
	t.reports.add(device+" error", 0)
	t.write(time.Now(), record{
		Kind: "virtio", Object: device, Name: "error", Error: err.Error(),
		text: fmt.Sprintf("%s: %v", device, err),
	})
}
