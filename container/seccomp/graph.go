package seccomp

import "github.com/opencontainers/runtime-spec/specs-go"

// node is a place in the decision graph: either a verdict, or a test with a node for each outcome. A filter is one
// such graph from the architecture down to the verdicts; the program is the graph written out (emit.go).
//
// Nodes are made by a graph alone, which makes no two equal ones: that two calls have the same rules is then seen by
// comparing pointers, and code that many of them share is written once.
type node struct {
	decision
	code // where it lies in the program, while that is written
}

type decision struct {
	test
	yes, no *node  // nil in a verdict
	verdict Action // if yes is nil
}

// final says that a node is a verdict.
func (n *node) final() bool { return n.yes == nil }

// test asks of a word of struct seccomp_data whether word&mask == value, or with atLeast whether word >= value.
// The other comparisons are made of these two.
type test struct {
	word    uint32 // offset in seccomp_data
	atLeast bool   // mask is all ones then
	mask    uint32
	value   uint32
}

const allBits = ^uint32(0)

// Offsets in struct seccomp_data.
const (
	wordNR   = 0
	wordArch = 4
	dataSize = 64
)

// lowerWord is where the lower half of an argument lies: x86 is little-endian.
func lowerWord(arg uint) uint32 { return 16 + 8*uint32(arg) }
func upperWord(arg uint) uint32 { return lowerWord(arg) + 4 }

func equal(word, value uint32) test { return test{word: word, mask: allBits, value: value} }
func atLeast(word, value uint32) test {
	return test{word: word, atLeast: true, mask: allBits, value: value}
}

// graph makes nodes.
type graph struct {
	nodes    map[decision]*node
	verdicts map[Action]*node
	given    map[knowledge]*node
	learn    int // how many nodes may still be made anew for what is known of them
}

func newGraph(learn int) *graph {
	const some = 300 // nodes of the default profile
	return &graph{make(map[decision]*node, some), make(map[Action]*node), make(map[knowledge]*node), learn}
}

func (g *graph) node(d decision) *node {
	if old := g.nodes[d]; old != nil {
		return old
	}
	n := &node{decision: d}
	g.nodes[d] = n
	return n
}

func (g *graph) verdict(a Action) *node {
	n := g.verdicts[a]
	if n == nil {
		n = &node{decision: decision{verdict: a}}
		g.verdicts[a] = n
	}
	return n
}

// branch makes a node for a test, if one is needed.
func (g *graph) branch(t test, yes, no *node) *node {
	if yes == no || t.always() {
		return yes
	}
	return g.node(decision{test: t, yes: yes, no: no})
}

// always says that the answer is yes for every word.
func (t test) always() bool { return t.value == 0 && (t.atLeast || t.mask == 0) }

// ask is branch, and has neither outcome ask again what is settled by then.
func (g *graph) ask(t test, yes, no *node) *node {
	if t.always() {
		return yes
	}
	return g.branch(t, g.knowing(yes, t, true), g.knowing(no, t, false))
}

// greater is ask for word > value.
func (g *graph) greater(word, value uint32, yes, no *node) *node {
	if value == allBits {
		return no
	}
	return g.ask(atLeast(word, value+1), yes, no)
}

// match makes the tests of one condition.
func (g *graph) match(c condition, wide bool, yes, no *node) *node {
	lower, upper := lowerWord(c.arg), upperWord(c.arg)
	low, high := uint32(c.value), uint32(c.value>>32)
	switch c.op {
	case specs.OpNotEqual:
		return g.match(condition{arg: c.arg, op: specs.OpEqualTo, value: c.value}, wide, no, yes)
	case specs.OpLessThan:
		return g.match(condition{arg: c.arg, op: specs.OpGreaterEqual, value: c.value}, wide, no, yes)
	case specs.OpLessEqual:
		return g.match(condition{arg: c.arg, op: specs.OpGreaterThan, value: c.value}, wide, no, yes)
	case specs.OpEqualTo:
		n := g.ask(equal(lower, low), yes, no)
		if wide {
			n = g.ask(equal(upper, high), n, no)
		}
		return n
	case specs.OpMaskedEqual:
		n := g.ask(test{word: lower, mask: uint32(c.mask), value: low}, yes, no)
		if wide {
			n = g.ask(test{word: upper, mask: uint32(c.mask >> 32), value: high}, n, no)
		}
		return n
	}
	var n *node
	if c.op == specs.OpGreaterThan {
		n = g.greater(lower, low, yes, no)
	} else {
		n = g.ask(atLeast(lower, low), yes, no)
	}
	if wide { // the upper half decides, unless it is equal
		n = g.greater(upper, high, yes, g.ask(equal(upper, high), n, no))
	}
	return n
}

// rules makes the tests of a system call's rules, tried in turn.
func (g *graph) rules(rules []rule, wide bool, fallback *node) *node {
	n := fallback
	for i := len(rules) - 1; i >= 0; i-- {
		next := n
		n = g.verdict(rules[i].action)
		for j := len(rules[i].conditions) - 1; j >= 0; j-- {
			n = g.match(rules[i].conditions[j], wide, n, next)
		}
	}
	return n
}
