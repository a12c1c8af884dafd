package child

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// Program is what a child is to do, in order. It is made by one goroutine. A program can be started once.
type Program struct {
	phases []phase
	steps  []step
	told   []told   // one of each step, but of a program that nobody prints
	code   []uint64 // the steps' instructions, see machine.go
	data   []byte   // what addresses in them point at

	labels   []int // the index of the step that a label stands before, -1 while unbound
	jumps    []jump
	handlers []handler
	late     []lateWord
	files    []int // the parent's descriptors that it uses
	regs     int
	syncs    []string
	errs     []error
	scratch  int // bytes of memory for calls to fill
	preserve int // how many of the parent's descriptors from 3 on the command inherits
	number   int // of the last step that is printed
	closed   bool
	untold   bool // nobody prints it
}

// step is one system call of a program, or something the child does between two.
type step struct {
	op     string
	object string
	at     int32 // its instruction's first word
	kind   kind
	quiet  bool // not part of the printed plan
}

// told is what of a step is only printed.
type told struct {
	why  string
	args []Arg
	into Reg // -1: the result is dropped
}

type phase struct {
	name  string
	first int // index of its first step
}

// New makes an empty program.
func New() *Program {
	// A common program has some four hundred steps.
	p := &Program{
		regs: firstReg, steps: make([]step, 0, 512), code: make([]uint64, 0, 4096), data: make([]byte, 0, 16<<10),
	}
	p.Phase("leave the runtime behind")
	p.note("execveat", "tandem-stub", "a program of its own does the rest: nothing of the runtime's, its memory or its file, is in the container")
	return p
}

// Reg is a register. It holds what a call returned.
type Reg int

const (
	statusReg Reg = iota // the child's end of the socket to its parent
	firstReg      = 1
)

// Reg gives a register that nobody uses yet.
func (p *Program) Reg() Reg {
	p.regs++
	return Reg(p.regs - 1)
}

func (r Reg) String() string {
	if r == statusReg {
		return "status"
	}
	return fmt.Sprintf("r%d", int(r))
}

// Arg is one argument of a call.
type Arg struct {
	name   string
	value  uintptr
	late   *late // whose descriptor becomes the value
	isReg  bool  // the value is a register's number
	show   any   // what is printed, or the value
	hidden bool
}

func arg(name string, value uintptr, show any) Arg {
	return Arg{name: name, value: value, show: show}
}

// late is a file that is opened when the program starts.
type late struct {
	open func() (*os.File, error)
	file *os.File
}

// Late is a descriptor of a file that open opens when the program is started, and that is closed in the parent when the
// child is there: so that making a program, and printing it, opens nothing. The argument may be used in several calls.
func (p *Program) Late(name, show string, open func() (*os.File, error)) Arg {
	return Arg{name: name, show: show, late: &late{open: open}}
}

// Label is a place in a program that calls may go on at.
type Label int

// jump is a word whose upper half becomes a label's address.
type jump struct {
	word int32
	step int32 // that it is part of
	to   Label
}

// handler tells where a call goes on that fails with errno.
type handler struct {
	errno unix.Errno
	step  int32
	to    Label
}

// lateWord is a word that becomes a file's descriptor.
type lateWord struct {
	word int32
	step int32
	late *late
}

// next is the label of the call that follows.
const next Label = -1

// Call is a step of a program that can still be said more about.
type Call struct {
	p    *Program
	step int
}

// Untold says that nobody will print the program, before any call is added. What its arguments are named is forgotten.
func (p *Program) Untold() { p.untold = true }

// add adds a step, and the first two words of its instruction.
func (p *Program) add(s step, why string, into Reg, bits uint64, nr uint32) Call {
	if !s.quiet {
		p.number++
	}
	s.at = int32(len(p.code))
	p.steps = append(p.steps, s)
	if !p.untold {
		p.told = append(p.told, told{why: why, into: into})
	}
	p.code = append(p.code, uint64(s.kind)|bits|uint64(max(into, 0))<<resultShift, uint64(max(p.number, 1))|uint64(nr)<<32)
	return Call{p, len(p.steps) - 1}
}

// operands adds arguments to the last step's instruction.
func (p *Program) operands(args ...Arg) {
	last := len(p.steps) - 1
	for i, a := range args {
		if a.isReg {
			p.code[p.steps[last].at] |= 1 << (registersShift + i)
		}
		if a.late != nil {
			p.late = append(p.late, lateWord{int32(len(p.code)), int32(last), a.late})
		}
		p.code = append(p.code, uint64(a.value))
	}
	p.tell(args...)
}

// tell puts down arguments that are only printed.
func (p *Program) tell(args ...Arg) {
	if !p.untold {
		p.told[len(p.told)-1].args = slices.Clone(args)
	}
}

// toWord lets the upper half of a word of the last step's become a label's address.
func (p *Program) toWord(word int, to Label) {
	if to != next {
		p.jumps = append(p.jumps, jump{int32(word), int32(len(p.steps) - 1), to})
	}
}

// note is a step that is done before the program begins.
func (p *Program) note(op, object, why string) {
	p.add(step{kind: kindJump, op: op, object: object}, why, -1, 0, 0)
	p.code = p.code[:len(p.code)-2]
}

// Phase begins a phase: the calls added from now on serve the one purpose that it names, such as "mount proc on /proc".
// A failed call's error begins with it.
func (p *Program) Phase(format string, args ...any) {
	p.phases = append(p.phases, phase{fmt.Sprintf(format, args...), len(p.steps)})
}

// Call adds a system call. The object is what it is about, for people; args are at most six.
func (p *Program) Call(op string, nr uintptr, object, why string, args ...Arg) Call {
	if len(args) > 6 {
		p.fail("%s: %d arguments, a system call has at most 6", op, len(args))
		args = args[:6]
	}
	c := p.add(step{kind: kindCall, op: op, object: object}, why, -1, uint64(8*len(args))<<sizeShift, uint32(nr))
	p.code = append(p.code, 0) // where its handlers are
	p.operands(args...)
	return c
}

// Into keeps the call's result in a register.
func (c Call) Into(r Reg) Call {
	first := &c.p.code[c.p.steps[c.step].at]
	*first = *first&(1<<resultShift-1) | uint64(r)<<resultShift
	if !c.p.untold {
		c.p.told[c.step].into = r
	}
	return c
}

// Accept goes on with the next call if this one fails with one of these errors.
func (c Call) Accept(errnos ...unix.Errno) Call {
	for _, e := range errnos {
		c.Else(e, next)
	}
	return c
}

// Else goes on at the label if the call fails with errno.
func (c Call) Else(errno unix.Errno, to Label) Call {
	c.p.handlers = append(c.p.handlers, handler{errno, int32(c.step), to})
	return c
}

// Label makes a label, which Bind gives its place.
func (p *Program) Label() Label {
	p.labels = append(p.labels, -1)
	return Label(len(p.labels) - 1)
}

// Bind puts the label before the call that is added next.
func (p *Program) Bind(l Label) { p.labels[l] = len(p.steps) }

// Jump goes on at the label.
func (p *Program) Jump(to Label) {
	p.add(step{kind: kindJump, op: "jump", quiet: true}, "", -1, 0, 0)
	p.toWord(len(p.code)-1, to)
}

// Sync tells the parent that the child has come here, and waits until the parent lets it go on.
func (p *Program) Sync(name, why string) { p.SyncValue(name, why, statusReg) }

// SyncValue is Sync, and tells the parent what a register holds, see [Process.Value].
func (p *Program) SyncValue(name, why string, r Reg) {
	p.syncs = append(p.syncs, name)
	p.add(step{kind: kindSync, op: "sync", object: name}, why, -1, 0, uint32(len(p.syncs)-1))
	p.code = append(p.code, uint64(r))
}

// Await waits until the parent lets it go on, by [Process.Go], which may have happened already: nothing is told, so who comes
// first goes on at once. Syncs and awaits are let go on in the program's order.
func (p *Program) Await(object, why string) {
	p.add(step{kind: kindAwait, op: "read", object: object}, why, -1, 0, 0)
}

// MoveStatus makes a file of the parent's what the child tells its failures to from now on, in place of the socket: a
// pipe, say, that whoever lets it go on later has opened. There can be no sync after it.
func (p *Program) MoveStatus(file Arg) {
	p.move(step{op: "move", quiet: true}, "", statusReg, file)
}

// move puts a number into a register.
func (p *Program) move(s step, why string, r Reg, value Arg) {
	s.kind = kindMove
	p.add(s, why, r, 0, 0)
	p.operands(value)
}

// Fork goes on in another child of the same parent, which takes this one's place: as only a new process is in a PID
// namespace that its maker has joined. The parent is told its number.
func (p *Program) Fork(why string) {
	p.add(step{kind: kindFork, op: "clone", object: "CLONE_PARENT"}, why, -1, 0, 0)
}

// fail puts down an error of the program's making. Start and Err return them.
func (p *Program) fail(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("child: "+format, args...))
}

// Check puts down an error, if it is one, of making something that the program needs. Start returns it.
func (p *Program) Check(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// Err returns what is wrong with the program so far: text with a NUL byte, say.
func (p *Program) Err() error { return errors.Join(p.errs...) }

// check finds what only a whole program can be asked.
func (p *Program) check() error {
	for l, at := range p.labels {
		if at < 0 {
			p.fail("label %d has no place", l)
		}
	}
	if last := p.steps[len(p.steps)-1].op; last != "exit_group" && last != "execve" {
		p.fail("the program does not end")
	}
	return p.Err()
}

// Len is the number of steps that are printed.
func (p *Program) Len() int { return p.number }

// Phases is the program as a plan's phases, to be printed.
func (p *Program) Phases() []plan.Phase {
	var phases []plan.Phase
	starts := p.phases
	if len(starts) == 0 || starts[0].first > 0 {
		starts = slices.Insert(slices.Clone(starts), 0, phase{"", 0})
	}
	skipped := p.skipped()
	for i, ph := range starts {
		end := len(p.steps)
		if i+1 < len(starts) {
			end = starts[i+1].first
		}
		out := plan.Phase{Name: ph.name}
		for i := ph.first; i < end; i++ {
			if p.steps[i].quiet {
				continue
			}
			step := p.printed(i)
			if skipped[i] {
				step.Why = strings.TrimSpace(step.Why + " " + onlyIfNeeded)
			}
			out.Steps = append(out.Steps, step)
		}
		if len(out.Steps) > 0 {
			phases = append(phases, out)
		}
	}
	return phases
}

// Leg is a stretch of a program, up to a sync or to the program's end.
type Leg struct {
	Steps int    // that are printed, the sync among them
	Sync  string // its name; empty in the last leg
}

// Legs is what Phases is, in short: for who only has to meet the child at its syncs.
func (p *Program) Legs() []Leg {
	var legs []Leg
	var leg Leg
	for _, s := range p.steps {
		if s.quiet {
			continue
		}
		leg.Steps++
		if s.kind == kindSync {
			leg.Sync = s.object
			legs, leg = append(legs, leg), Leg{}
		}
	}
	return append(legs, leg)
}

// onlyIfNeeded ends the reason of a step that a program may pass over.
const onlyIfNeeded = "(only if needed)"

// skipped tells of each step whether a jump may lead past it.
func (p *Program) skipped() []bool {
	skipped := make([]bool, len(p.steps))
	past := func(from int32, to Label) {
		if to == next {
			return
		}
		for i := int(from) + 1; i < p.labels[to]; i++ {
			skipped[i] = true
		}
	}
	for _, j := range p.jumps {
		past(j.step, j.to)
	}
	for _, h := range p.handlers {
		past(h.step, h.to)
	}
	return skipped
}

// printed is a step that is only told of.
func (p *Program) printed(index int) plan.Step {
	s, t := p.steps[index], p.told[index]
	out := plan.Step{Op: s.op, Object: s.object, Why: t.why}
	for _, a := range t.args {
		if !a.hidden {
			out.Args = append(out.Args, plan.A(a.name, a.shown()))
		}
	}
	if t.into >= 0 {
		out.Args = append(out.Args, plan.A("->", t.into))
	}
	return out
}

func (a Arg) shown() any {
	switch {
	case a.isReg:
		return Reg(a.value).String()
	case a.show != nil:
		if s, ok := a.show.(fmt.Stringer); ok {
			return s.String()
		}
		return a.show
	}
	return int(a.value)
}

// phaseOf is the name of a call's phase.
func (p *Program) phaseOf(index int) string {
	name := ""
	for _, ph := range p.phases {
		if ph.first <= index {
			name = ph.name
		}
	}
	return name
}
