package container

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// maxNodes is the most NUMA nodes that a kernel of this architecture can have (arch/x86/Kconfig, NODES_SHIFT).
const maxNodes = 1024

// A policy's mode, and what it needs of nodes: uapi/linux/mempolicy.h.
type policyMode struct {
	number uint64
	nodes  nodesNeed
}

type nodesNeed int

const (
	someNodes nodesNeed = iota
	noNodes
	anyNodes
)

var policyModes = map[specs.MemoryPolicyModeType]policyMode{
	specs.MpolDefault:            {0, noNodes},
	specs.MpolPreferred:          {1, anyNodes}, // with none it is MPOL_LOCAL
	specs.MpolBind:               {2, someNodes},
	specs.MpolInterleave:         {3, someNodes},
	specs.MpolLocal:              {4, noNodes},
	specs.MpolPreferredMany:      {5, someNodes},
	specs.MpolWeightedInterleave: {6, someNodes},
}

var policyFlags = map[specs.MemoryPolicyFlagType]uint64{
	specs.MpolFNumaBalancing: 1 << 13,
	specs.MpolFRelativeNodes: 1 << 14,
	specs.MpolFStaticNodes:   1 << 15,
}

// MemoryPolicyModes and MemoryPolicyFlags are what linux.memoryPolicy may name, sorted.
func MemoryPolicyModes() []string { return sortedNames(policyModes) }
func MemoryPolicyFlags() []string { return sortedNames(policyFlags) }

func sortedNames[K ~string, V any](m map[K]V) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		names = append(names, string(name))
	}
	return names
}

// memoryPolicy is what set_mempolicy(2) takes.
type memoryPolicy struct {
	mode  uint64
	nodes bitSet
}

// parseMemoryPolicy checks what would be refused on any machine. What this one refuses (a node that it has not, two flags
// that do not go together) the kernel tells.
func parseMemoryPolicy(m *specs.LinuxMemoryPolicy) (p memoryPolicy, err error) {
	const field = "linux.memoryPolicy"
	mode, known := policyModes[m.Mode]
	if !known {
		return p, invalid("%s.mode %q, want one of %s", field, m.Mode, strings.Join(MemoryPolicyModes(), " "))
	}
	p.mode = mode.number
	for _, flag := range m.Flags {
		bit, known := policyFlags[flag]
		if !known {
			return p, invalid("%s.flags %q, want some of %s", field, flag, strings.Join(MemoryPolicyFlags(), " "))
		}
		p.mode |= bit
	}
	if p.nodes, err = parseNumbers(m.Nodes, maxNodes); err != nil {
		return p, invalid("%s.nodes %q: %v", field, m.Nodes, err)
	}
	switch {
	case mode.nodes == noNodes && p.nodes != nil:
		return p, invalid("%s.nodes %q: %s takes none", field, m.Nodes, m.Mode)
	case mode.nodes == someNodes && p.nodes == nil:
		return p, invalid("%s.nodes is empty: %s wants one at least", field, m.Mode)
	}
	return p, nil
}

// memoryPolicy comes before there is a user: it is inherited by all that the process starts, and survives execve(2).
func (x *identity) memoryPolicy(p *child.Program) {
	if x.linux == nil || x.linux.MemoryPolicy == nil {
		return
	}
	m := x.linux.MemoryPolicy
	policy, err := parseMemoryPolicy(m)
	p.Phase("set the NUMA memory policy")
	p.Check(err)
	mode := string(m.Mode)
	for _, flag := range m.Flags {
		mode += "|" + string(flag)
	}
	// The kernel reads one bit less than it is told (get_nodes in mm/mempolicy.c).
	maxnode := 0
	if policy.nodes != nil {
		maxnode = len(policy.nodes)*8 + 1
	}
	p.Call("set_mempolicy", unix.SYS_SET_MEMPOLICY, fmt.Sprintf("%s %s", m.Mode, m.Nodes), "from which nodes its memory comes",
		child.Flags("mode", policy.mode, mode), p.Bytes("nodemask", policy.nodes, m.Nodes), child.Int("maxnode", maxnode))
}
