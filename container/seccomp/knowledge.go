package seccomp

// Rules of one system call often ask the same thing again: five values that an int may have are five tests that its
// upper half is nought. Each test takes two instructions at every call, so what an earlier one has settled is used.

// knowledge is a node with the answer to a test that was made on the way to it.
type knowledge struct {
	node   *node
	test   test
	answer bool
}

// knowing returns what is left of n to be tested once t was answered. It may leave n as it is: that is always right.
func (g *graph) knowing(n *node, t test, answer bool) *node {
	for !n.final() {
		settled, yes := n.settledBy(t, answer)
		if !settled {
			break
		}
		if yes {
			n = n.yes
		} else {
			n = n.no
		}
	}
	if n.final() {
		return n
	}
	key := knowledge{n, t, answer}
	if known := g.given[key]; known != nil {
		return known
	}
	if g.learn <= 0 {
		return n
	}
	g.learn--
	known := g.branch(n.test, g.knowing(n.yes, t, answer), g.knowing(n.no, t, answer))
	g.given[key] = known
	g.given[knowledge{known, t, answer}] = known
	return known
}

// settledBy tells whether t's answer leaves but one to test, and which.
func (t test) settledBy(known test, answer bool) (settled, yes bool) {
	switch {
	case t.word != known.word:
		return false, false
	case t == known:
		return true, answer
	case known.mask != allBits || t.mask != allBits && !answer:
		return false, false
	case answer && !known.atLeast: // the word is known.value
		if t.atLeast {
			return true, known.value >= t.value
		}
		return true, known.value&t.mask == t.value
	case t.mask != allBits || !known.atLeast:
		return false, false
	case answer: // the word is known.value or more
		if t.value <= known.value && t.atLeast {
			return true, true
		}
		return t.value < known.value, false
	default: // the word is less than known.value
		return t.value >= known.value, false
	}
}
