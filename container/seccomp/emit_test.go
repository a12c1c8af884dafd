package seccomp

import (
	"math/rand/v2"
	"testing"
)

// walk is what a graph says of a call, without a program.
func (n *node) walk(d *Data) Action {
	for !n.final() {
		word, _ := d.load(n.word)
		if n.atLeast && word >= n.value || !n.atLeast && word&n.mask == n.value {
			n = n.yes
		} else {
			n = n.no
		}
	}
	return n.verdict
}

// TestEmitRandomGraphs writes out graphs in which everything leads everywhere, so that jumps of all lengths are
// needed, and masks of all kinds.
func TestEmitRandomGraphs(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		g := newGraph(0)
		nodes := []*node{g.verdict(0), g.verdict(1), g.verdict(2)}
		earlier := func() *node { return nodes[max(0, len(nodes)-1-random.IntN(1+random.IntN(300)))] }
		for len(nodes) < 500 {
			c := test{word: lowerWord(uint(random.IntN(2))), mask: allBits, value: random.Uint32N(8)}
			switch random.IntN(4) {
			case 0:
				c.atLeast = true
			case 1:
				c.mask = random.Uint32N(8)
				c.value &= c.mask
			}
			yes, no := earlier(), earlier()
			switch random.IntN(4) { // so that most are in the program
			case 0:
				yes = nodes[len(nodes)-1]
			case 1:
				no = nodes[len(nodes)-1]
			}
			nodes = append(nodes, g.branch(c, yes, no))
		}
		root := nodes[len(nodes)-1]
		program, err := emit(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkProgram(program); err != nil {
			t.Fatal(err)
		}
		for a := range uint64(8) {
			for b := range uint64(8) {
				d := Data{Args: [arguments]uint64{a, b}}
				got, _ := Run(program, &d)
				if want := root.walk(&d); got != want {
					t.Fatalf("args %d, %d: %v, want %v", a, b, got, want)
				}
			}
		}
	}
}

// TestEmitFarJumps has a test both of whose outcomes lie about as far away as a jump goes.
func TestEmitFarJumps(t *testing.T) {
	longest := 0
	for padding := 235; padding < 265; padding++ {
		for apart := range 4 {
			g := newGraph(0)
			chain := func(n *node, length int, word uint32) *node {
				for i := range length {
					n = g.branch(equal(word, uint32(100+i)), g.verdict(0), n)
				}
				return n
			}
			first := g.branch(equal(lowerWord(0), 1), g.verdict(1), g.verdict(2))
			second := g.branch(equal(lowerWord(1), 1), g.verdict(3), g.verdict(4))
			both := g.branch(equal(lowerWord(2), 1), first, chain(second, apart, lowerWord(1)))
			far := g.branch(equal(lowerWord(3), 1), second, first) // the farther one first
			root := g.branch(equal(lowerWord(4), 1), far, chain(both, padding, lowerWord(2)))
			program, err := emit(root)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkProgram(program); err != nil {
				t.Fatal(err)
			}
			for _, i := range program {
				longest = max(longest, int(i.Jt), int(i.Jf))
			}
			for bits := range uint64(1 << 5) {
				var d Data
				for i := range 5 {
					d.Args[i] = bits >> i & 1
				}
				got, _ := Run(program, &d)
				if want := root.walk(&d); got != want {
					t.Fatalf("padding %d, %d: %v: %v, want %v", padding, apart, d.Args, got, want)
				}
			}
		}
	}
	if longest != 255 {
		t.Errorf("the longest jump is by %d", longest)
	}
}
