// Package pattern has regular expressions that are compiled when they are first asked. What a command names beside what it
// uses would else be compiled at each of its starts: one that counts to 128 takes a tenth of a millisecond.
package pattern

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression, see regexp/syntax. Several goroutines may use it at the same time.
type Pattern struct{ compiled func() *regexp.Regexp }

// New makes a pattern. One that is malformed panics when it is first used.
func New(expression string) Pattern {
	return Pattern{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })}
}

// MatchString tells whether s has a match of the pattern.
func (p Pattern) MatchString(s string) bool { return p.compiled().MatchString(s) }

// FindAllStringIndex gives the matches in s that do not overlap, by where they begin and end; at most n, if n is not less than 0.
func (p Pattern) FindAllStringIndex(s string, n int) [][]int {
	return p.compiled().FindAllStringIndex(s, n)
}

// FindStringSubmatch is the leftmost match in s and those of its parts, or nil.
func (p Pattern) FindStringSubmatch(s string) []string { return p.compiled().FindStringSubmatch(s) }
