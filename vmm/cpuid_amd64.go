package vmm

import (
	"math/bits"
	"slices"

	"tandem/kvm"
)

// CPUID leaves that say who a vCPU is or what it may not use. The rest is the
// host's, as far as KVM supports it.
const (
	leafFeatures    = 0x1
	leafCaches      = 0x4 // Intel: "deterministic cache parameters"
	leafPerfMon     = 0xA
	leafTopology    = 0xB
	leafTopologyV2  = 0x1F
	leafExtFeatures = 0x8000_0001
	leafExtSizes    = 0x8000_0008
	leafSVM         = 0x8000_000A
	leafAMDCaches   = 0x8000_001D
	leafAMDTopology = 0x8000_001E
	leafAMDPerfMon  = 0x8000_0022

	featVMX         = 1 << 5  // leaf 1 ECX
	featTSCDeadline = 1 << 24 // leaf 1 ECX
	featHypervisor  = 1 << 31 // leaf 1 ECX
	featHTT         = 1 << 28 // leaf 1 EDX: the package has several logical processors

	featCmpLegacy = 1 << 1  // leaf 0x80000001 ECX: they are cores, not threads
	featSVM       = 1 << 2  // leaf 0x80000001 ECX
	featPerfCore  = 1 << 23 // leaf 0x80000001 ECX
	featPerfNB    = 1 << 24 // leaf 0x80000001 ECX

	topologySMT  = 1 << 8 // leaf 0xB ECX: what kind of level this is
	topologyCore = 2 << 8
)

// topology is how the vCPUs are arranged: one package of cpus cores, each of one
// thread, with APIC ids 0 to cpus-1.
type topology struct {
	cpus        int
	nested      bool
	tscDeadline bool
}

// idBits is how many bits of an APIC id tell cores apart.
func (t topology) idBits() uint32 { return uint32(bits.Len(uint(t.cpus - 1))) }

// cpuid makes the leaves of vCPU id from those that the host supports, which it
// leaves as they are.
//
// The performance counters are taken away, since they would be a clock shared
// with the host; so is nested virtualization unless it is wanted.
func (t topology) cpuid(supported []kvm.CPUIDEntry, id uint32) []kvm.CPUIDEntry {
	leaves := slices.DeleteFunc(slices.Clone(supported), func(e kvm.CPUIDEntry) bool {
		// The host's own arrangement; ours comes below.
		return e.Function == leafTopology || e.Function == leafTopologyV2
	})
	for i := range leaves {
		t.adjust(&leaves[i], id)
	}
	if basic := kvm.FindCPUID(leaves, 0, 0); basic != nil && basic.Eax >= leafTopology {
		leaves = append(leaves, t.levels(leafTopology, id)...)
		if basic.Eax >= leafTopologyV2 {
			leaves = append(leaves, t.levels(leafTopologyV2, id)...)
		}
	}
	return leaves
}

func (t topology) adjust(e *kvm.CPUIDEntry, id uint32) {
	n := uint32(t.cpus)
	switch e.Function {
	case leafFeatures:
		// EBX: APIC id, logical processors in the package (as a power of
		// two: the id's bits), cache line, brand.
		e.Ebx = e.Ebx&0xFFFF | 1<<t.idBits()<<16 | id<<24
		e.Ecx = set(e.Ecx, featHypervisor, true)
		e.Ecx = set(e.Ecx, featTSCDeadline, t.tscDeadline)
		e.Ecx &^= set(featVMX, featVMX, !t.nested)
		e.Edx = set(e.Edx, featHTT, n > 1)
	case leafCaches:
		// EAX 31-26: cores in the package less 1; 25-14: how many share
		// this cache less 1; 7-5: the cache's level; 4-0: 0 ends the list.
		if e.Eax&0x1F != 0 {
			e.Eax = e.Eax&0x3FFF | t.sharing(e.Eax>>5&7)<<14 | (1<<t.idBits()-1)<<26
		}
	case leafAMDCaches:
		if e.Eax&0x1F != 0 {
			e.Eax = e.Eax&0x3FFF | t.sharing(e.Eax>>5&7)<<14
		}
	case leafExtFeatures:
		e.Ecx = set(e.Ecx, featCmpLegacy, n > 1 && e.Ecx&featCmpLegacy != 0)
		e.Ecx &^= set(featSVM, featSVM, !t.nested) | featPerfCore | featPerfNB
	case leafExtSizes:
		// ECX 7-0: cores less 1; 15-12: the bits of an APIC id for them.
		e.Ecx = e.Ecx&^0xF0FF | (n - 1) | t.idBits()<<12
	case leafAMDTopology:
		// EAX: extended APIC id; EBX: core id, threads of it less 1; ECX: node.
		e.Eax, e.Ebx, e.Ecx = id, id, 0
	case leafPerfMon, leafAMDPerfMon:
		e.Eax, e.Ebx, e.Ecx, e.Edx = 0, 0, 0, 0
	case leafSVM:
		if !t.nested {
			e.Eax, e.Ebx, e.Ecx, e.Edx = 0, 0, 0, 0
		}
	}
}

// sharing is how many APIC ids share a cache of the level, less 1: one core has
// its own first and second, and all share the third.
func (t topology) sharing(level uint32) uint32 {
	if level < 3 {
		return 0
	}
	return 1<<t.idBits() - 1
}

// levels is leaf 0xB or 0x1F: threads of a core, cores of the package, end.
func (t topology) levels(leaf, id uint32) []kvm.CPUIDEntry {
	level := func(index, shift, count, kind uint32) kvm.CPUIDEntry {
		return kvm.CPUIDEntry{
			Function: leaf, Index: index, Flags: kvm.CPUIDSignificantIndex,
			Eax: shift, Ebx: count, Ecx: index | kind, Edx: id,
		}
	}
	return []kvm.CPUIDEntry{
		level(0, 0, 1, topologySMT),
		level(1, t.idBits(), uint32(t.cpus), topologyCore),
		level(2, 0, 0, 0),
	}
}

// set gives v with the bits in mask set or clear.
func set(v, mask uint32, on bool) uint32 {
	if on {
		return v | mask
	}
	return v &^ mask
}
