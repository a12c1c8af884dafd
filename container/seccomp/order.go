package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The runtime specification does not say which rule wins if several match one call and want different things.
// Profiles are written for libseccomp, so its order is this one's as well. It is not that of the profile:
//
//   - a rule without conditions beats those with, and the first such beats the others;
//   - else a rule whose first condition is on a later argument comes before one on an earlier;
//   - on one argument, == and != and masks come before < and <=, and those before > and >=;
//   - the narrower comes before the wider: of < the smaller value, of > the greater, and of == the greater too;
//   - what is equal so far is decided by the next condition, a rule that has none coming first;
//   - and in the end by the order of the profile.
//
// libseccomp compares words of 32 bits, the upper half of an argument before the lower, and so does this.

// literal is one comparison of a word of seccomp_data, as far as the order asks.
type literal struct {
	word  uint32 // its offset: rises with the argument, and from the lower half to the upper
	kind  byte   // '=', '>' or 'g' for >=: each other operator is one of these with the outcomes exchanged
	mask  uint32
	value uint32
	class int // of the operator, above
}

// literals spells out a condition. A mask that leaves nothing to compare gives none.
func (c condition) literals(wide bool) []literal {
	lower := literal{word: lowerWord(c.arg), mask: ^uint32(0), value: uint32(c.value)}
	switch c.op {
	case specs.OpEqualTo, specs.OpNotEqual:
		lower.kind, lower.class = '=', 3
	case specs.OpMaskedEqual:
		lower.kind, lower.class, lower.mask = '=', 3, uint32(c.mask)
	case specs.OpLessThan:
		lower.kind, lower.class = 'g', 2
	case specs.OpLessEqual:
		lower.kind, lower.class = '>', 2
	case specs.OpGreaterEqual:
		lower.kind, lower.class = 'g', 1
	case specs.OpGreaterThan:
		lower.kind, lower.class = '>', 1
	}
	if c.always(wide) {
		return nil
	}
	if !wide {
		return []literal{lower}
	}
	upper := lower
	upper.word, upper.value = upperWord(c.arg), uint32(c.value>>32)
	if c.op == specs.OpMaskedEqual {
		upper.mask = uint32(c.mask >> 32)
	}
	if lower.kind == '=' {
		return []literal{upper, lower}
	}
	same := upper
	upper.kind, same.kind = '>', '='
	return []literal{upper, same, lower}
}

// always says that a condition holds whatever the argument is.
func (c condition) always(wide bool) bool {
	return c.op == specs.OpMaskedEqual && (c.mask == 0 || !wide && uint32(c.mask) == 0)
}

// same says that two literals ask one question, perhaps for opposite answers.
func (l literal) same(m literal) bool {
	return l.word == m.word && l.kind == m.kind && l.mask == m.mask && l.value == m.value
}

// before says that l is asked first.
func (l literal) before(m literal) bool {
	switch {
	case l.word != m.word:
		return l.word > m.word
	case l.class != m.class:
		return l.class > m.class
	case l.class == 2:
		return l.value < m.value
	default:
		return l.value > m.value
	}
}

// ordered returns the rules of one system call in the order in which they are tried.
func ordered(rules []rule, wide bool) []rule {
	for i, r := range rules {
		if !slices.ContainsFunc(r.conditions, func(c condition) bool { return !c.always(wide) }) {
			return rules[i : i+1]
		}
	}
	if len(rules) == 1 {
		return rules
	}
	spelled := make([]spelledRule, len(rules))
	for i, r := range rules {
		spelled[i].rule = r
		for _, c := range r.conditions {
			spelled[i].literals = append(spelled[i].literals, c.literals(wide)...)
		}
	}
	return sortRules(make([]rule, 0, len(rules)), spelled, 0)
}

type spelledRule struct {
	rule     rule
	literals []literal
}

// sortRules appends rules that agree in their literals before depth. Those that ask the same question next stay
// together, at the place of the first of them.
func sortRules(to []rule, rules []spelledRule, depth int) []rule {
	type group struct {
		literal literal
		rules   []spelledRule
	}
	var groups []group
	for _, r := range rules {
		if depth == len(r.literals) {
			to = append(to, r.rule)
			continue
		}
		next := r.literals[depth]
		if i := slices.IndexFunc(groups, func(g group) bool { return g.literal.same(next) }); i >= 0 {
			groups[i].rules = append(groups[i].rules, r)
			continue
		}
		i := slices.IndexFunc(groups, func(g group) bool { return next.before(g.literal) })
		if i < 0 {
			i = len(groups)
		}
		groups = slices.Insert(groups, i, group{next, []spelledRule{r}})
	}
	for _, g := range groups {
		to = sortRules(to, g.rules, depth+1)
	}
	return to
}
