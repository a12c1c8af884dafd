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
	calls  []*Call
	labels []int  // the index of the call that a label stands before, -1 while unbound
	data   []byte // what addresses in arguments point at
	files  []int  // the parent's descriptors that it uses
	regs   int
	syncs  []string
	errs   []error
	closed bool // CloseOnExec was called

	scratch  int // bytes of memory for calls to fill
	preserve int // how many of the parent's descriptors from 3 on the command inherits

	// A program has some six hundred calls, which live and end together: to allocate them by the dozen takes half of the
	// time and of the memory.
	freeCalls    []Call
	freeOperands []operand
	untold       bool // nobody prints it
}

type phase struct {
	name  string
	first int // index of its first call
}

// New makes an empty program.
func New() *Program {
	p := &Program{regs: firstReg, calls: make([]*Call, 0, 768), data: make([]byte, 0, 16<<10)}
	p.Phase("leave the runtime behind")
	p.add(Call{
		kind: kindNote, op: "execveat", object: "tandem-stub", into: -1,
		why: "a program of its own does the rest: nothing of the runtime's, its memory or its file, is in the container",
	})
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
	operand
	name   string
	show   any // what is printed, or the value
	hidden bool
}

func arg(name string, value uintptr, show any) Arg {
	return Arg{name: name, operand: operand{value: value}, show: show}
}

// operand is what of an argument the kernel gets.
type operand struct {
	value uintptr
	late  *late
	isReg bool
}

// late is a file that is opened when the program starts.
type late struct {
	open func() (*os.File, error)
	file *os.File
}

// word is one in the child's memory.
type word struct {
	at    uint64
	size  int // 4 or 8
	mask  uint64
	want  uint64 // or what is stored, or the register that is
	errno unix.Errno
	to    Label
}

// Late is a descriptor of a file that open opens when the program is started, and that is closed in the parent when the
// child is there: so that making a program, and printing it, opens nothing. The argument may be used in several calls.
func (p *Program) Late(name, show string, open func() (*os.File, error)) Arg {
	return Arg{name: name, show: show, operand: operand{late: &late{open: open}}}
}

// Label is a place in a program that calls may go on at.
type Label int

// handler tells where a call goes on that fails with errno.
type handler struct {
	errno unix.Errno
	to    Label
}

// next is the label of the call that follows.
const next Label = -1

// kind tells calls from what the interpreter does by itself.
type kind uint8

const (
	kindCall kind = iota
	kindJump
	kindSync
	kindAwait
	kindMove
	kindFork
	kindExpect
	kindStoreReg // a register's value into memory
	kindLoad     // and back
	kindNote     // done before the program begins
)

// Call is one system call of a program, or something the child does between two.
type Call struct {
	op       string
	object   string
	why      string
	nr       uintptr
	args     []operand
	shown    []Arg // the same as they are printed, but of a program that nobody prints
	handlers []handler
	into     Reg   // -1: the result is dropped
	target   Label // of a jump
	word     *word // in memory, of what compares or moves one
	sync     int32 // of a sync, its index
	kind     kind
	quiet    bool // not part of the printed plan
}

// Untold says that nobody will print the program, before any call is added. What its arguments are named is forgotten.
func (p *Program) Untold() { p.untold = true }

// add adds a call, and keeps its arguments.
func (p *Program) add(c Call, args ...Arg) *Call {
	const dozen = 24
	if len(p.freeCalls) == 0 {
		p.freeCalls = make([]Call, dozen)
	}
	kept := &p.freeCalls[0]
	p.freeCalls = p.freeCalls[1:]
	*kept = c
	p.calls = append(p.calls, kept)
	if len(args) > len(p.freeOperands) {
		p.freeOperands = make([]operand, max(4*dozen, len(args)))
	}
	kept.args = p.freeOperands[:len(args):len(args)]
	p.freeOperands = p.freeOperands[len(args):]
	for i := range args {
		kept.args[i] = args[i].operand
	}
	if !p.untold {
		kept.shown = slices.Clone(args)
	}
	return kept
}

// Phase begins a phase: the calls added from now on serve the one purpose that it names, such as "mount proc on /proc".
// A failed call's error begins with it.
func (p *Program) Phase(format string, args ...any) {
	p.phases = append(p.phases, phase{fmt.Sprintf(format, args...), len(p.calls)})
}

// Call adds a system call. The object is what it is about, for people; args are at most six.
func (p *Program) Call(op string, nr uintptr, object, why string, args ...Arg) *Call {
	if len(args) > 6 {
		p.fail("%s: %d arguments, a system call has at most 6", op, len(args))
	}
	return p.add(Call{op: op, nr: nr, object: object, why: why, into: -1}, args...)
}

// Into keeps the call's result in a register.
func (c *Call) Into(r Reg) *Call {
	c.into = r
	return c
}

// Accept goes on with the next call if this one fails with one of these errors.
func (c *Call) Accept(errnos ...unix.Errno) *Call {
	for _, e := range errnos {
		c.handlers = append(c.handlers, handler{e, next})
	}
	return c
}

// Else goes on at the label if the call fails with errno.
func (c *Call) Else(errno unix.Errno, to Label) *Call {
	c.handlers = append(c.handlers, handler{errno, to})
	return c
}

// Label makes a label, which Bind gives its place.
func (p *Program) Label() Label {
	p.labels = append(p.labels, -1)
	return Label(len(p.labels) - 1)
}

// Bind puts the label before the call that is added next.
func (p *Program) Bind(l Label) { p.labels[l] = len(p.calls) }

// Jump goes on at the label.
func (p *Program) Jump(to Label) {
	p.add(Call{kind: kindJump, op: "jump", target: to, into: -1, quiet: true})
}

// Sync tells the parent that the child has come here, and waits until the parent lets it go on.
func (p *Program) Sync(name, why string) {
	p.syncs = append(p.syncs, name)
	p.add(Call{kind: kindSync, op: "sync", object: name, why: why, sync: int32(len(p.syncs) - 1), into: -1})
}

// Await waits until the parent lets it go on, by [Process.Go], which may have happened already: nothing is told, so who comes
// first goes on at once. Syncs and awaits are let go on in the program's order.
func (p *Program) Await(object, why string) {
	p.add(Call{kind: kindAwait, op: "read", object: object, why: why, into: -1})
}

// SyncValue is Sync, and tells the parent what a register holds, see [Process.Value].
func (p *Program) SyncValue(name, why string, r Reg) {
	p.Sync(name, why)
	p.calls[len(p.calls)-1].into = r
}

// MoveStatus makes a file of the parent's what the child tells its failures to from now on, in place of the socket: a
// pipe, say, that whoever lets it go on later has opened. There can be no sync after it.
func (p *Program) MoveStatus(file Arg) {
	p.add(Call{kind: kindMove, op: "move", into: statusReg, quiet: true}, file)
}

// Fork goes on in another child of the same parent, which takes this one's place: as only a new process is in a PID
// namespace that its maker has joined. The parent is told its number.
func (p *Program) Fork(why string) {
	p.add(Call{kind: kindFork, op: "clone", object: "CLONE_PARENT", why: why, into: -1})
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
	if n := len(p.calls); n == 0 || p.calls[n-1].op != "exit_group" && p.calls[n-1].op != "execve" {
		p.fail("the program does not end")
	}
	return p.Err()
}

// Len is the number of calls that are printed.
func (p *Program) Len() int {
	n := 0
	for _, c := range p.calls {
		if !c.quiet {
			n++
		}
	}
	return n
}

// Phases is the program as a plan's phases, to be printed.
func (p *Program) Phases() []plan.Phase {
	var phases []plan.Phase
	starts := p.phases
	if len(starts) == 0 || starts[0].first > 0 {
		starts = slices.Insert(slices.Clone(starts), 0, phase{"", 0})
	}
	skipped := p.skipped()
	for i, ph := range starts {
		end := len(p.calls)
		if i+1 < len(starts) {
			end = starts[i+1].first
		}
		out := plan.Phase{Name: ph.name}
		for i, c := range p.calls[ph.first:end] {
			if c.quiet {
				continue
			}
			step := c.step()
			if skipped[ph.first+i] {
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
	for _, c := range p.calls {
		if c.quiet {
			continue
		}
		leg.Steps++
		if c.kind == kindSync {
			leg.Sync = c.object
			legs, leg = append(legs, leg), Leg{}
		}
	}
	return append(legs, leg)
}

// onlyIfNeeded ends the reason of a step that a program may pass over.
const onlyIfNeeded = "(only if needed)"

// skipped tells of each call whether a jump may lead past it.
func (p *Program) skipped() []bool {
	skipped := make([]bool, len(p.calls))
	past := func(from int, to Label) {
		if to == next {
			return
		}
		for i := from + 1; i < p.labels[to]; i++ {
			skipped[i] = true
		}
	}
	for i, c := range p.calls {
		switch c.kind {
		case kindJump:
			past(i, c.target)
		case kindExpect:
			past(i, c.word.to)
		}
		for _, h := range c.handlers {
			past(i, h.to)
		}
	}
	return skipped
}

// step is the call as a step that is only told of.
func (c *Call) step() plan.Step {
	s := plan.Step{Op: c.op, Object: c.object, Why: c.why}
	for _, a := range c.shown {
		if !a.hidden {
			s.Args = append(s.Args, plan.A(a.name, a.shown()))
		}
	}
	if c.into >= 0 {
		s.Args = append(s.Args, plan.A("->", c.into))
	}
	return s
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
