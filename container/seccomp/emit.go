package seccomp

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// emitter writes a decision graph out as a program.
//
// Jumps of BPF go forward only, so that a program always ends, and a conditional one by 255 instructions at most. What
// a node leads to therefore comes after it; the program is made from its end, as distances to what follows are known.
//
// A node is one to three instructions:
//
//	ld   [word]        left out on the way from a node that tests the same word: the accumulator has it still
//	and  mask          only where several bits of a mask are compared with a value: the word is lost by that
//	jeq  value, yes, no
type emitter struct {
	reversed []bpf.RawInstruction // the last instruction first
}

// code is what the emitter knows of a node.
type code struct {
	seen   bool // by findLoads
	fresh  bool // some way leads here with another word in the accumulator
	placed bool
	// Where its code begins, as an index in reversed: with the load, and without it. Both are one in a verdict.
	load, kept int
}

// emit returns the program for a graph, which it marks: a graph is written once.
func emit(root *node) ([]unix.SockFilter, error) {
	var e emitter
	root.fresh = true
	root.findLoads()
	e.put(root)
	if n := len(e.reversed); n > MaxInstructions {
		return nil, fmt.Errorf("seccomp: %d instructions: %w, which takes %d", n, ErrTooLong, MaxInstructions)
	}
	program := make([]unix.SockFilter, len(e.reversed))
	for i, raw := range e.reversed {
		program[len(program)-1-i] = unix.SockFilter{Code: raw.Op, Jt: raw.Jt, Jf: raw.Jf, K: raw.K}
	}
	return program, nil
}

// findLoads marks the nodes from here on that have to load their word.
func (n *node) findLoads() {
	if n.seen || n.final() {
		return
	}
	n.seen = true
	for _, to := range [...]*node{n.yes, n.no} {
		if !to.final() && !n.leavesWordFor(to) {
			to.fresh = true
		}
		to.findLoads()
	}
}

// leavesWordFor tells whether after n's test the accumulator holds the word of to.
func (n *node) leavesWordFor(to *node) bool { return n.word == to.word && !n.clobbers() }

// clobbers tells whether the test needs an instruction that changes the accumulator.
func (t test) clobbers() bool { return t.mask != allBits && !t.isBitTest() }

// isBitTest tells whether jset does the test: whether no bit of the mask is set, or the only one.
func (t test) isBitTest() bool {
	return t.mask != allBits && (t.value == 0 || t.value == t.mask && t.mask&(t.mask-1) == 0)
}

// put writes a node and all that it leads to.
func (e *emitter) put(n *node) {
	if n.placed {
		return
	}
	if n.final() {
		e.putVerdict(n)
		return
	}
	e.put(n.no)
	e.put(n.yes)
	no := e.reach(n, n.no)
	yes := e.reach(n, n.yes)
	e.write(n.jump(uint8(e.distance(yes)), uint8(e.distance(no))))
	if n.clobbers() {
		e.write(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: n.mask})
	}
	n.kept = len(e.reversed) - 1
	if n.fresh {
		e.write(bpf.LoadAbsolute{Off: n.word, Size: 4})
	}
	n.load, n.placed = len(e.reversed)-1, true
}

// write assembles an instruction. There is none here that has no form.
func (e *emitter) write(instruction bpf.Instruction) {
	raw, err := instruction.Assemble()
	if err != nil {
		panic(fmt.Sprintf("seccomp: assemble %v: %v", instruction, err))
	}
	e.reversed = append(e.reversed, raw)
}

func (e *emitter) putVerdict(n *node) {
	e.write(bpf.RetConstant{Val: uint32(n.verdict)})
	n.load, n.placed = len(e.reversed)-1, true
	n.kept = n.load
}

// distance is how many instructions lie between the next one to be written and one that was.
func (e *emitter) distance(at int) int { return len(e.reversed) - at - 1 }

// reach returns where the test of n, which is to be written next or but one, has to jump for to: to its code, or to a
// copy of it or a longer jump where that is too far.
func (e *emitter) reach(n, to *node) int {
	const farthest = 255 - 1 // the other branch may put one instruction in between
	at := to.load
	if n.leavesWordFor(to) {
		at = to.kept
	}
	switch {
	case e.distance(at) <= farthest:
		return at
	case to.final():
		e.putVerdict(to)
	default:
		e.write(bpf.Jump{Skip: uint32(e.distance(at))})
	}
	return len(e.reversed) - 1
}

// jump is the test alone.
func (t test) jump(yes, no uint8) bpf.Instruction {
	j := bpf.JumpIf{Cond: bpf.JumpEqual, Val: t.value, SkipTrue: yes, SkipFalse: no}
	switch {
	case t.atLeast:
		j.Cond = bpf.JumpGreaterOrEqual
	case t.isBitTest():
		j.Cond, j.Val = bpf.JumpBitsSet, t.mask
		if t.value == 0 {
			j.SkipTrue, j.SkipFalse = no, yes
		}
	}
	return j
}
