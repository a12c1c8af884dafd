package plan

import (
	"context"
	"errors"
	"fmt"
)

// Arg is one argument of a step's request, for printing.
type Arg struct {
	Name  string
	Value any
}

// A is short for an Arg.
func A(name string, value any) Arg { return Arg{name, value} }

// Hex is a number that prints in hexadecimal.
type Hex uint64

func (h Hex) String() string { return fmt.Sprintf("%#x", uint64(h)) }

// MarshalText lets a JSON reader see the same digits.
func (h Hex) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Step is one request to the kernel.
type Step struct {
	// Op is the request's name as the kernel's documents spell it: an ioctl,
	// a system call, a netlink message.
	Op string
	// Object is what it is put to: "/dev/kvm", "vcpu 0", a path.
	Object string
	// Args are the arguments worth reading, in order.
	Args []Arg
	// Why is the reason, one line.
	Why string
	// Do puts the request. A nil Do is a step that the list tells of and
	// that happens elsewhere (by closing a descriptor, say).
	Do func() error
	// Undo takes back what Do did. Nil where there is nothing to take back:
	// most requests die with the descriptor that they were put to.
	Undo func() error
	// Stands is how many steps this one stands for, where nobody is going to
	// read the list: steps that happen elsewhere, which count, and are not
	// worth making only to be passed over. Nought is one.
	Stands int
}

func (s *Step) count() int { return max(1, s.Stands) }

// Phase is a run of steps with one purpose.
type Phase struct {
	Name  string
	Steps []Step
}

// Plan is an ordered list of steps, in phases.
type Plan struct {
	Name   string
	Phases []Phase

	// Observe, if not nil, is told of each step before it is done.
	Observe func(*Step)
}

// New makes an empty plan.
func New(name string) *Plan { return &Plan{Name: name} }

// Phase begins a phase: the steps added from now on belong to it.
func (p *Plan) Phase(name string) { p.Phases = append(p.Phases, Phase{Name: name}) }

// Add puts steps at the end of the current phase.
func (p *Plan) Add(steps ...Step) {
	if len(p.Phases) == 0 {
		p.Phase("")
	}
	last := &p.Phases[len(p.Phases)-1]
	last.Steps = append(last.Steps, steps...)
}

// Len is the number of steps.
func (p *Plan) Len() int {
	n := 0
	for _, phase := range p.Phases {
		for i := range phase.Steps {
			n += phase.Steps[i].count()
		}
	}
	return n
}

// StepError says which step failed.
type StepError struct {
	Plan   string
	Number int // from 1
	Op     string
	Object string
	Err    error
}

func (e *StepError) Error() string {
	if e.Object == "" {
		return fmt.Sprintf("%s: step %d: %s: %v", e.Plan, e.Number, e.Op, e.Err)
	}
	return fmt.Sprintf("%s: step %d: %s %s: %v", e.Plan, e.Number, e.Op, e.Object, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// Done is a plan that was carried out to its end.
type Done struct {
	plan string
	undo []numbered
}

type numbered struct {
	number int
	step   *Step
}

// Run does the steps in order. If one fails, or ctx ends between two, the
// steps before it are undone in reverse, and the error is a *[StepError],
// joined with those of any undoing that failed too.
func (p *Plan) Run(ctx context.Context) (*Done, error) {
	done := &Done{plan: p.Name}
	number := 0
	for i := range p.Phases {
		for j := range p.Phases[i].Steps {
			step := &p.Phases[i].Steps[j]
			number += step.count()
			if err := p.do(ctx, step); err != nil {
				err = &StepError{p.Name, number, step.Op, step.Object, err}
				return nil, errors.Join(err, done.Undo())
			}
			if step.Undo != nil {
				done.undo = append(done.undo, numbered{number, step})
			}
		}
	}
	return done, nil
}

func (p *Plan) do(ctx context.Context, step *Step) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if p.Observe != nil {
		p.Observe(step)
	}
	if step.Do == nil {
		return nil
	}
	return step.Do()
}

// Undo takes back the steps, the last first. It goes on after an error and
// returns all of them joined. A second call does nothing.
func (d *Done) Undo() error {
	var errs []error
	for len(d.undo) > 0 {
		last := d.undo[len(d.undo)-1]
		d.undo = d.undo[:len(d.undo)-1]
		if err := last.step.Undo(); err != nil {
			op := "undo " + last.step.Op
			errs = append(errs, &StepError{d.plan, last.number, op, last.step.Object, err})
		}
	}
	return errors.Join(errs...)
}
