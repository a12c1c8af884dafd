package kvm

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	cpuidHeader     = 8  // struct kvm_cpuid2 without its entries
	cpuidEntrySize  = 40 // struct kvm_cpuid_entry2
	cpuidFirstTry   = 64
	cpuidMaxEntries = 256 // KVM_MAX_CPUID_ENTRIES; above it a host is lying
)

// SupportedCPUID is the leaves that this host's KVM can give a guest: what
// the CPU has, less what KVM cannot virtualize, plus what it emulates at no
// cost. It is the starting point for VCPU.SetCPUID.
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	return getCPUID(s.descriptor, reqGetSupportedCPUID, opGetSupportedCPUID, cpuidFirstTry)
}

// EmulatedCPUID is the features that KVM would emulate in software, slowly
// (CapExtEmulCPUID).
func (s *System) EmulatedCPUID() ([]CPUIDEntry, error) {
	return getCPUID(s.descriptor, reqGetEmulatedCPUID, opGetEmulatedCPUID, cpuidFirstTry)
}

// CPUID reads back what SetCPUID gave the vCPU. Some bits follow its
// registers (OSXSAVE, APIC).
func (v *VCPU) CPUID() ([]CPUIDEntry, error) {
	// With more room than leaves, kernels such as 6.1 do not tell how many
	// they wrote. But no kernel changes the number, so it is known.
	n := int(v.leaves.Load())
	return getCPUID(v.descriptor, reqGetCPUID2, opGetCPUID, n)
}

// SetCPUID sets what the CPUID instruction tells the guest. Call it before
// the vCPU first runs; afterwards the kernel refuses any change.
func (v *VCPU) SetCPUID(entries []CPUIDEntry) error {
	buf := make([]byte, cpuidHeader, cpuidHeader+len(entries)*cpuidEntrySize)
	binary.NativeEndian.PutUint32(buf, uint32(len(entries)))
	buf, _ = binary.Append(buf, binary.NativeEndian, entries)
	if _, err := ioctlBuffer(v.descriptor, reqSetCPUID2, buf, func() any { return slices.Clone(entries) }); err != nil {
		return &Error{Op: opSetCPUID, Object: v.object, Err: err}
	}
	v.leaves.Store(int64(len(entries)))
	return nil
}

// getCPUID asks for n entries, and for more each time that the kernel says
// E2BIG: no call tells the number beforehand.
func getCPUID(d *descriptor, req Request, op string, n int) ([]CPUIDEntry, error) {
	for ; ; n = max(2*n, cpuidFirstTry) {
		buf := make([]byte, cpuidHeader+n*cpuidEntrySize)
		binary.NativeEndian.PutUint32(buf, uint32(n))
		_, err := ioctlBuffer(d, req, buf, func() any { return decodeCPUID(buf) })
		if errors.Is(err, unix.E2BIG) && n < cpuidMaxEntries {
			continue
		}
		if err != nil {
			return nil, &Error{Op: op, Object: d.object, Err: err}
		}
		return decodeCPUID(buf), nil
	}
}

func decodeCPUID(buf []byte) []CPUIDEntry {
	room := (len(buf) - cpuidHeader) / cpuidEntrySize
	n := min(int(binary.NativeEndian.Uint32(buf)), room)
	entries := make([]CPUIDEntry, n)
	_, _ = binary.Decode(buf[cpuidHeader:], binary.NativeEndian, entries)
	return entries
}

// FindCPUID returns the entry for a leaf and subleaf, to look at or to
// change; nil if there is none. The subleaf is ignored for leaves without.
func FindCPUID(entries []CPUIDEntry, function, index uint32) *CPUIDEntry {
	for i := range entries {
		e := &entries[i]
		if e.Function == function && (e.Flags&CPUIDSignificantIndex == 0 || e.Index == index) {
			return e
		}
	}
	return nil
}
