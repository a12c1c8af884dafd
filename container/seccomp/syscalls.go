package seccomp

import "strings"

//go:generate go run generate.go

// syscallEntry is a system call's number in each ABI, -1 where it has none.
type syscallEntry struct {
	name   string
	number [abis]int16
}

// findSyscall returns the entry of a name, nil if no ABI has it. The table is searched as it lies in the executable:
// a map would be built at each start of a program that mostly has no use for it.
func findSyscall(name string) *syscallEntry {
	low, high := 0, len(syscallTable)
	for low < high { // without a copy of each entry looked at
		middle := (low + high) / 2
		switch c := strings.Compare(syscallTable[middle].name, name); {
		case c == 0:
			return &syscallTable[middle]
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil
}

// nr is the number as the kernel reports it in seccomp_data.
func (e *syscallEntry) nr(a abi) (uint32, bool) {
	n := e.number[a]
	if n < 0 {
		return 0, false
	}
	if a == x32 {
		return uint32(n) | x32Bit, true
	}
	return uint32(n), true
}

// syscallName is for printing: it looks at each entry in turn.
func syscallName(a abi, nr uint32) (string, bool) {
	for i := range syscallTable {
		if n, ok := syscallTable[i].nr(a); ok && n == nr {
			return syscallTable[i].name, true
		}
	}
	return "", false
}
