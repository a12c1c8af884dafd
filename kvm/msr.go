package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	msrsHeader   = 8  // struct kvm_msrs without its entries
	msrEntrySize = 16 // struct kvm_msr_entry
	msrListWord  = 4  // struct kvm_msr_list is a count and 32-bit indices
	msrsMax      = 255
)

// MSRIndexList is the MSRs that make up a vCPU's state on this host: those to
// save and restore. It depends on the CPU and the kernel.
func (s *System) MSRIndexList() ([]uint32, error) {
	return getMSRList(s.descriptor, reqGetMSRIndexList, opGetMSRList)
}

// FeatureMSRIndexList is the MSRs that FeatureMSRs can read (CapGetMSRFeatures).
func (s *System) FeatureMSRIndexList() ([]uint32, error) {
	return getMSRList(s.descriptor, reqGetMSRFeatureIndexList, opGetFeatureMSRList)
}

// FeatureMSRs reads what this host supports in MSRs that hold features, of
// those in FeatureMSRIndexList.
func (s *System) FeatureMSRs(entries []MSREntry) error {
	return doMSRs(s.descriptor, reqGetMSRs, opGetFeatureMSRs, entries)
}

// MSRs reads MSRs: the entries' Index says which, and Data is filled in. If
// KVM refuses one the error wraps an *MSRError that names it; the entries
// before it are filled in.
func (v *VCPU) MSRs(entries []MSREntry) error {
	return doMSRs(v.descriptor, reqGetMSRs, opGetMSRs, entries)
}

// SetMSRs writes MSRs in order. If KVM refuses one the error wraps an
// *MSRError that names it; those before it are written.
func (v *VCPU) SetMSRs(entries []MSREntry) error {
	return doMSRs(v.descriptor, reqSetMSRs, opSetMSRs, entries)
}

// MSR reads one MSR.
func (v *VCPU) MSR(index uint32) (uint64, error) {
	e := []MSREntry{{Index: index}}
	err := v.MSRs(e)
	return e[0].Data, err
}

// SetMSR writes one MSR.
func (v *VCPU) SetMSR(index uint32, value uint64) error {
	return v.SetMSRs([]MSREntry{{Index: index, Data: value}})
}

// doMSRs goes in steps of msrsMax, as the kernel refuses longer lists (MAX_IO_MSRS).
func doMSRs(d *descriptor, req Request, op string, entries []MSREntry) error {
	total := len(entries)
	for done := 0; done < total; {
		part := entries[done:min(done+msrsMax, total)]
		n, err := doMSRsOnce(d, req, part)
		if err != nil {
			return &Error{Op: op, Object: d.object, Err: err}
		}
		done += n
		if n < len(part) {
			return &Error{Op: op, Object: d.object, Err: &MSRError{Index: entries[done].Index, Done: done, Total: total}}
		}
	}
	return nil
}

// doMSRsOnce returns how many of the entries the kernel did.
func doMSRsOnce(d *descriptor, req Request, entries []MSREntry) (int, error) {
	buf := make([]byte, msrsHeader, msrsHeader+len(entries)*msrEntrySize)
	binary.NativeEndian.PutUint32(buf, uint32(len(entries)))
	buf, _ = binary.Append(buf, binary.NativeEndian, entries)
	decode := func() { _, _ = binary.Decode(buf[msrsHeader:], binary.NativeEndian, entries) }
	n, err := ioctlBuffer(d, req, buf, func() any {
		if req == reqGetMSRs {
			decode()
		}
		return slices.Clone(entries)
	})
	if err != nil {
		return 0, err
	}
	if n > len(entries) {
		return 0, fmt.Errorf("%v did %d of %d entries", req, n, len(entries))
	}
	if req == reqGetMSRs {
		decode()
	}
	return n, nil
}

// getMSRList asks with no room first: the kernel answers E2BIG and the count.
func getMSRList(d *descriptor, req Request, op string) ([]uint32, error) {
	for n := uint32(0); ; {
		buf := make([]byte, msrListWord*(1+int(n)))
		binary.NativeEndian.PutUint32(buf, n)
		_, err := ioctlBuffer(d, req, buf, func() any { return decodeMSRList(buf) })
		if want := binary.NativeEndian.Uint32(buf); errors.Is(err, unix.E2BIG) && want > n && want < 1<<16 {
			n = want
			continue
		}
		if err != nil {
			return nil, &Error{Op: op, Err: d.because(err, CapGetMSRFeatures)}
		}
		return decodeMSRList(buf), nil
	}
}

func decodeMSRList(buf []byte) []uint32 {
	room := len(buf)/msrListWord - 1
	list := make([]uint32, min(int(binary.NativeEndian.Uint32(buf)), room))
	_, _ = binary.Decode(buf[msrListWord:], binary.NativeEndian, list)
	return list
}
