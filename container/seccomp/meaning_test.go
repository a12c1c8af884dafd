package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The two calls of 32-bit x86 that many go through.
const nrSocketcall, nrIPC = 102, 117

// meanings reads a profile word by word for one system call, without any of the compiler's steps: it returns the
// actions of all rules that match, or that of the profile where none does. It says nothing of order, and knows neither
// x32 where the profile does not list it nor what is newer than the profile.
func meanings(spec *specs.LinuxSeccomp, d Data) []Action {
	kind := map[uint32]abi{ArchX86_64: x86_64, ArchI386: i386}[d.Arch]
	if d.Arch == ArchX86_64 && uint32(d.NR) >= x32Bit {
		kind = x32
	}
	fallback, _ := parseAction(spec.DefaultAction, spec.DefaultErrnoRet)
	var matching []Action
	for _, entry := range spec.Syscalls {
		action, _ := parseAction(entry.Action, entry.ErrnoRet)
		if action == fallback {
			continue
		}
		for _, name := range entry.Names {
			call := findSyscall(name)
			if call == nil {
				continue
			}
			nr, ok := call.nr(kind)
			if ok && nr == uint32(d.NR) && argsMatch(entry.Args, d, kind == x86_64, false) {
				matching = append(matching, action)
			}
			if kind != i386 {
				continue
			}
			first := uint64(uint32(d.Args[0]))
			through := d.NR == nrSocketcall && socketcall(name) != 0 && first == socketcall(name) ||
				d.NR == nrIPC && ipc(name) != 0 && first&0xffff == ipc(name)
			if through && argsMatch(entry.Args, d, false, true) {
				matching = append(matching, action)
			}
		}
	}
	if len(matching) == 0 {
		return []Action{fallback}
	}
	slices.Sort(matching)
	return slices.Compact(matching)
}

// argsMatch compares the arguments: all conditions have to hold, or any if one argument has two. The first argument of
// a multiplexed call counts for nothing.
func argsMatch(args []specs.LinuxSeccompArg, d Data, wide, multiplexed bool) bool {
	var count [6]int
	twice := false
	var outcomes []bool
	for _, arg := range args {
		count[arg.Index]++
		twice = twice || count[arg.Index] > 1
		outcomes = append(outcomes, multiplexed && arg.Index == 0 || argMatches(arg, d.Args[arg.Index], wide))
	}
	if twice {
		return slices.Contains(outcomes, true)
	}
	return !slices.Contains(outcomes, false)
}

func argMatches(arg specs.LinuxSeccompArg, v uint64, wide bool) bool {
	value, second := arg.Value, arg.ValueTwo
	if !wide {
		v, value, second = v&0xffffffff, value&0xffffffff, second&0xffffffff
	}
	switch arg.Op {
	case specs.OpEqualTo:
		return v == value
	case specs.OpNotEqual:
		return v != value
	case specs.OpLessThan:
		return v < value
	case specs.OpLessEqual:
		return v <= value
	case specs.OpGreaterThan:
		return v > value
	case specs.OpGreaterEqual:
		return v >= value
	case specs.OpMaskedEqual:
		return v&value == second&value
	}
	panic(arg.Op)
}
