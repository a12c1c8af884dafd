package seccomp

import (
	"cmp"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// span is a run of numbers with one verdict, up to where the next one starts.
type span struct {
	start   uint32
	verdict *node
	calls   int // how many numbers in it are system calls of the native ABI
}

// spans divide all numbers that there are, by rising start; the first is 0.
type spans []span

// append begins a span at start, which is at or after that of the last one.
func (s *spans) append(start uint32, verdict *node) {
	if n := len(*s); n > 0 && (*s)[n-1].start == start {
		*s = (*s)[:n-1]
	}
	if n := len(*s); n == 0 || (*s)[n-1].verdict != verdict {
		*s = append(*s, span{start: start, verdict: verdict})
	}
}

// call is a number that has a verdict of its own.
type call struct {
	nr      uint32
	verdict *node
}

// overlay puts the verdicts of calls, by rising number, upon those of the spans.
func (s spans) overlay(calls []call) spans {
	all := make(spans, 0, len(s)+2*len(calls))
	for i, under := range s {
		all.append(under.start, under.verdict)
		last := uint32(math.MaxUint32)
		if i+1 < len(s) {
			last = s[i+1].start - 1
		}
		for len(calls) > 0 && calls[0].nr <= last {
			all.append(calls[0].nr, calls[0].verdict)
			if calls[0].nr < last {
				all.append(calls[0].nr+1, under.verdict)
			}
			calls = calls[1:]
		}
	}
	return all
}

// badArch is the verdict for architectures that a profile does not cover: libseccomp's SCMP_FLTATR_ACT_BADARCH, which
// runc and crun leave as it is.
const badArch = Action(unix.SECCOMP_RET_KILL_THREAD)

// numbers makes the part of the graph that knows the architecture: that of a, and x32 with x86_64.
func (p *profile) numbers(g *graph, a abi) *node {
	calls := p.calls(g, a)
	if a == x86_64 && p.covered[x32] {
		calls = append(calls, p.calls(g, x32)...) // all greater
	}
	s := p.unnamed(g, a).overlay(calls)
	s.count(a)
	return g.searchTree(s)
}

// calls returns an ABI's calls that have rules, by rising number.
func (p *profile) calls(g *graph, a abi) []call {
	rules := p.rules
	if a == i386 {
		rules = slices.Clone(rules) // to add to
	}
	order := make([]uint64, 0, len(rules)) // numbers, and below each the place of its rule in the order of the profile
	for i, r := range p.rules {
		if nr, ok := r.syscall.nr(a); ok {
			order = append(order, uint64(nr)<<32|uint64(i))
		}
		if a != i386 {
			continue
		}
		if way, ok := r.multiplexed(); ok {
			nr, _ := way.syscall.nr(a)
			order = append(order, uint64(nr)<<32|uint64(len(rules)))
			rules = append(rules, way)
		}
	}
	slices.Sort(order)

	fallback := g.verdict(p.fallback)
	calls := make([]call, 0, len(order))
	var same []rule
	for len(order) > 0 {
		nr := uint32(order[0] >> 32)
		same = same[:0]
		for len(order) > 0 && uint32(order[0]>>32) == nr {
			same = append(same, rules[uint32(order[0])])
			order = order[1:]
		}
		calls = append(calls, call{nr, g.rules(ordered(same, a.wide()), a.wide(), fallback)})
	}
	return calls
}

// The numbers that x32 alone has: it shares the rest with x86_64. The range is closed (syscall_64.tbl).
const x32First, x32Last = 512, 547

// unnamed gives each number the verdict that it has unless a rule is for it.
//
// That is not always the default action. A profile that denies what it does not name was written when some calls did
// not exist yet. A C library tries such a call and goes back to an older one at ENOSYS, as on an older kernel; at
// EPERM it gives up. So what is newer than all that a profile names fails with ENOSYS, as in runc. The kernel's
// numbers rise with time, which makes "newer" a question of numbers. Nothing is let through by it.
func (p *profile) unnamed(g *graph, a abi) spans {
	fallback := g.verdict(p.fallback)
	newer, newest := fallback, p.newest[a]
	if p.deniesUnknown() && newest >= 0 {
		newer = g.verdict(Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)))
	}
	s := spans{{start: 0, verdict: fallback}}
	s.append(uint32(newest+1), newer)
	switch {
	case a != x86_64:
	case !p.covered[x32]:
		s.append(x32Bit, g.verdict(badArch))
		s.append(noSyscall, newer) // a tracer's, for any ABI
	default:
		s.append(x32Bit, fallback)
		s.append(x32Bit|uint32(newest+1), newer)
		if newest < x32First {
			s.append(x32Bit|x32First, fallback)
			s.append(x32Bit|(x32Last+1), newer)
		}
	}
	return s
}

// deniesUnknown tells whether calls that nobody knows yet are to fail with ENOSYS: not where they are let through, or a
// tracer is asked.
func (p *profile) deniesUnknown() bool {
	switch p.fallback.Kind() {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		return false
	}
	return true
}

// searchTree makes the tests that find a number's verdict. A span's depth in the tree is about the logarithm of its
// share of the weight: one that holds a hundred calls is found sooner than one that holds one.
func (g *graph) searchTree(s spans) *node {
	if len(s) == 1 {
		return s[0].verdict
	}
	if len(s) == 3 && s[0].verdict == s[2].verdict && s[1].start+1 == s[2].start {
		return g.branch(equal(wordNR, s[1].start), s[1].verdict, s[0].verdict)
	}
	at := s.middle()
	return g.branch(atLeast(wordNR, s[at].start), g.searchTree(s[at:]), g.searchTree(s[:at]))
}

// middle finds where the two parts weigh most nearly the same. Neither is empty.
func (s spans) middle() int {
	total := 0
	for _, x := range s {
		total += x.weight()
	}
	best, at, sum := math.MaxInt, 0, 0
	for i, x := range s[:len(s)-1] {
		sum += x.weight()
		if heavier := max(sum, total-sum); heavier < best {
			best, at = heavier, i+1
		}
	}
	return at
}

// weight is at least 1, so that spans without calls (holes, another ABI) make a balanced tree among themselves.
func (x span) weight() int { return 1 + 8*x.calls }

// count fills in calls.
func (s spans) count(a abi) {
	for i := range syscallTable {
		nr, ok := syscallTable[i].nr(a)
		if !ok {
			continue
		}
		at, found := slices.BinarySearchFunc(s, nr, func(x span, nr uint32) int { return cmp.Compare(x.start, nr) })
		if !found {
			at--
		}
		s[at].calls++
	}
}
