package seccomp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// profile is a specs.LinuxSeccomp that was checked, with names looked up.
type profile struct {
	fallback Action // defaultAction
	covered  [abis]bool
	rules    []rule
	newest   [abis]int // the greatest number of a named call, -1 for none; that of x32 is not used
	notify   bool
	unknown  []string
}

// rule gives an action to a system call whose arguments fulfil all conditions. A profile's entry makes one for each
// of its names, and more where it compares one argument twice.
type rule struct {
	syscall    *syscallEntry
	conditions []condition // by rising argument, one for each at most
	action     Action
}

// condition compares one argument.
type condition struct {
	arg   uint
	op    specs.LinuxSeccompOperator
	value uint64
	mask  uint64 // of MASKED_EQ: the bits of the argument that are compared with value
}

var operators = []specs.LinuxSeccompOperator{
	specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpLessEqual, specs.OpLessThan,
	specs.OpMaskedEqual, specs.OpNotEqual,
}

// arguments is how many a system call has at most: args of struct seccomp_data.
const arguments = 6

func parseProfile(spec *specs.LinuxSeccomp) (*profile, error) {
	if spec == nil {
		return nil, errors.New("seccomp: no profile")
	}
	p := &profile{newest: [abis]int{-1, -1, -1}}
	var err error
	if p.fallback, err = parseAction(spec.DefaultAction, spec.DefaultErrnoRet); err != nil {
		return nil, fmt.Errorf("seccomp: defaultAction: %w", err)
	}
	if spec.DefaultAction == specs.ActNotify {
		// Whoever is to answer gets the listener only after the filter is in force: nobody could let the process go on.
		return nil, fmt.Errorf("seccomp: defaultAction: %s is for single system calls", specs.ActNotify)
	}
	if p.covered, err = parseArchs(spec.Architectures); err != nil {
		return nil, err
	}
	names := 0
	for i := range spec.Syscalls {
		names += len(spec.Syscalls[i].Names)
	}
	p.rules = make([]rule, 0, names)
	for i := range spec.Syscalls {
		if err := p.add(&spec.Syscalls[i]); err != nil {
			return nil, fmt.Errorf("seccomp: syscalls[%d]: %w", i, err)
		}
	}
	slices.Sort(p.unknown)
	p.unknown = slices.Compact(p.unknown)
	return p, nil
}

// add takes in one entry of a profile's syscalls.
func (p *profile) add(entry *specs.LinuxSyscall) error {
	action, err := parseAction(entry.Action, entry.ErrnoRet)
	if err != nil {
		return err
	}
	alternatives, err := parseArgs(entry.Args)
	if err != nil {
		return err
	}
	if len(entry.Names) == 0 {
		return errors.New("names: at least one is needed")
	}
	p.notify = p.notify || entry.Action == specs.ActNotify
	for _, name := range entry.Names {
		if name == "" {
			return errors.New("names: one is empty")
		}
		call := findSyscall(name)
		if call == nil {
			p.unknown = append(p.unknown, name)
			continue
		}
		for a := range p.newest {
			p.newest[a] = max(p.newest[a], int(call.number[a]))
		}
		if action == p.fallback {
			continue // as in runc: it says nothing new, and takes nothing from the rules beside it
		}
		for _, conditions := range alternatives {
			p.rules = append(p.rules, rule{call, conditions, action})
		}
	}
	return nil
}

// parseArgs returns the lists of conditions any of which is enough. There is one, unless an argument is compared
// twice: then each comparison stands alone. That is what runc and crun do, whose library cannot hold two conditions on
// one argument in a rule; profiles were written for it, so what might look like a range is not read as one.
func parseArgs(args []specs.LinuxSeccompArg) ([][]condition, error) {
	all := make([]condition, 0, len(args))
	var seen [arguments]bool
	twice := false
	for i, arg := range args {
		if arg.Index >= arguments {
			return nil, fmt.Errorf("args[%d].index: no argument %d, the last is %d", i, arg.Index, arguments-1)
		}
		if !slices.Contains(operators, arg.Op) {
			return nil, fmt.Errorf("args[%d].op: unknown operator %q", i, arg.Op)
		}
		twice = twice || seen[arg.Index]
		seen[arg.Index] = true
		c := condition{arg: arg.Index, op: arg.Op, value: arg.Value}
		if arg.Op == specs.OpMaskedEqual { // value is the mask, and valueTwo what the masked argument is compared with
			c.mask, c.value = arg.Value, arg.ValueTwo&arg.Value
		}
		all = append(all, c)
	}
	if !twice {
		slices.SortFunc(all, func(a, b condition) int { return int(a.arg) - int(b.arg) })
		return [][]condition{all}, nil
	}
	alternatives := make([][]condition, len(all))
	for i := range all {
		alternatives[i] = all[i : i+1]
	}
	return alternatives, nil
}
