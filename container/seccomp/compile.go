package seccomp

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Compile makes the program for a profile. It asks nothing of the kernel and needs no privilege.
//
// Names of system calls that nobody knows are left out and listed in Filter.Unknown; any other thing that is wrong is
// an error that names the field and its value.
func Compile(spec *specs.LinuxSeccomp) (*Filter, error) {
	p, err := parseProfile(spec)
	if err != nil {
		return nil, err
	}
	f := &Filter{Notify: p.notify, Unknown: p.unknown}
	if f.Flags, err = parseFlags(spec.Flags, p.notify); err != nil {
		return nil, err
	}
	if err := f.setListener(spec); err != nil {
		return nil, err
	}
	const learn = MaxInstructions / 4
	f.Program, err = emit(p.graph(learn))
	if errors.Is(err, ErrTooLong) {
		f.Program, err = emit(p.graph(0)) // using what is known may also have doubled what it is known for
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Filter) setListener(spec *specs.LinuxSeccomp) error {
	switch {
	case spec.ListenerMetadata != "" && spec.ListenerPath == "":
		return fmt.Errorf("seccomp: listenerMetadata %q without listenerPath", spec.ListenerMetadata)
	case f.Notify && spec.ListenerPath == "":
		return fmt.Errorf("seccomp: %s without listenerPath: nobody would answer", specs.ActNotify)
	case f.Notify:
		f.ListenerPath, f.ListenerMetadata = spec.ListenerPath, spec.ListenerMetadata
	}
	return nil
}

// graph makes the whole decision graph. How many nodes may be spent on what is known is learn.
func (p *profile) graph(learn int) *node {
	g := newGraph(learn)
	other := g.verdict(badArch)
	if p.covered[i386] {
		other = g.branch(equal(wordArch, ArchI386), p.numbers(g, i386), other)
	}
	return g.branch(equal(wordArch, ArchX86_64), p.numbers(g, x86_64), other)
}
