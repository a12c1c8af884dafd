package testenv

import (
	"strings"
	"sync"
	"testing"
)

// Requirement is one thing that a host may lack. Its name is what skipped tests and their reports show.
type Requirement struct {
	name  string
	check func() error // nil if the host has it, else an error that says what is missing
}

// requirement probes no sooner than it is first asked for, and once a process.
func requirement(name string, check func() error) *Requirement {
	return &Requirement{name: name, check: sync.OnceValue(check)}
}

// Name is the requirement's word, such as "kvm-linux".
func (r *Requirement) Name() string { return r.name }

// Missing tells why this host does not have it, and is nil where it has.
func (r *Requirement) Missing() error { return r.check() }

// SkipPrefix begins the reason of every test that was skipped for what its host lacks.
const SkipPrefix = "need "

// Need skips the test unless the host has everything that is asked for. The first that is missing is the reason, so
// name the most telling one first.
func Need(t testing.TB, needs ...*Requirement) {
	t.Helper()
	for _, r := range needs {
		if err := r.Missing(); err != nil {
			reason := strings.Join(strings.Fields(err.Error()), " ") // one line: the runner reads it
			t.Skipf("%s%s: %s", SkipPrefix, r.name, reason)
		}
	}
}

// Has is for the test that checks more where more is to be had, and less elsewhere.
func Has(r *Requirement) bool { return r.Missing() == nil }
