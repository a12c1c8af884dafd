package kvm

import "fmt"

// xsaveSize is that of struct kvm_xsave without its flexible tail.
const xsaveSize = 4096

// XSaveSize is how many bytes XSave returns and SetXSave takes: 4096, or more
// once a feature with a large state, such as AMX, is enabled for this process.
func (vm *VM) XSaveSize() (int, error) {
	n, err := vm.Check(CapXSave2)
	if err != nil {
		return 0, err
	}
	return max(n, xsaveSize), nil
}

// XSave reads the extended processor state in the XSAVE format, laid out as
// the host's CPUID leaf 0xD says (CapXSave).
func (v *VCPU) XSave() ([]byte, error) {
	size, err := v.vm.XSaveSize()
	if err != nil {
		return nil, err
	}
	// KVM_GET_XSAVE gives the first 4096 bytes, and since Linux 5.17 fails if
	// that is not all.
	buf := make([]byte, size)
	req := reqGetXSave
	if size > xsaveSize {
		req = reqGetXSave2
	}
	_, err = ioctlBuffer(v.descriptor, req, buf, func() any { return xsaveArg(size) })
	if err != nil {
		return nil, v.wrapNeed(opGetXSave, err, CapXSave)
	}
	return buf, nil
}

// SetXSave sets the state that XSave returned; state has VM.XSaveSize bytes.
func (v *VCPU) SetXSave(state []byte) error {
	size, err := v.vm.XSaveSize()
	if err != nil {
		return err
	}
	if len(state) != size {
		// The kernel would read what lies after a shorter slice.
		return v.wrap(opSetXSave, fmt.Errorf("%d bytes of state, want %d", len(state), size))
	}
	_, err = ioctlBuffer(v.descriptor, reqSetXSave, state, func() any { return xsaveArg(size) })
	return v.wrapNeed(opSetXSave, err, CapXSave)
}

type xsaveArg int

func (x xsaveArg) String() string { return fmt.Sprintf("%d bytes", int(x)) }
