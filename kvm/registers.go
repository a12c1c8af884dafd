package kvm

// Regs reads the general registers, RIP and RFLAGS.
func (v *VCPU) Regs() (Regs, error) {
	var r Regs
	_, err := ioctl(v.descriptor, reqGetRegs, &r)
	return r, v.wrap(opGetRegs, err)
}

// SetRegs sets the general registers, RIP and RFLAGS.
func (v *VCPU) SetRegs(r Regs) error {
	_, err := ioctl(v.descriptor, reqSetRegs, &r)
	return v.wrap(opSetRegs, err)
}

// Sregs reads the segment and control registers, EFER and the APIC base.
func (v *VCPU) Sregs() (Sregs, error) {
	var s Sregs
	_, err := ioctl(v.descriptor, reqGetSregs, &s)
	return s, v.wrap(opGetSregs, err)
}

// SetSregs sets them. Start from what Sregs returned: KVM checks that they
// agree with each other (CR0.PG, EFER.LME, EFER.LMA, CR4.PAE).
func (v *VCPU) SetSregs(s Sregs) error {
	_, err := ioctl(v.descriptor, reqSetSregs, &s)
	return v.wrap(opSetSregs, err)
}

// Sregs2 is Sregs with the PDPTEs of PAE paging (CapSregs2).
func (v *VCPU) Sregs2() (Sregs2, error) {
	var s Sregs2
	_, err := ioctl(v.descriptor, reqGetSregs2, &s)
	return s, v.wrapNeed(opGetSregs2, err, CapSregs2)
}

// SetSregs2 is SetSregs with the PDPTEs of PAE paging (CapSregs2).
func (v *VCPU) SetSregs2(s Sregs2) error {
	_, err := ioctl(v.descriptor, reqSetSregs2, &s)
	return v.wrapNeed(opSetSregs2, err, CapSregs2)
}

// FPU reads the x87 and SSE registers.
func (v *VCPU) FPU() (FPU, error) {
	var f FPU
	_, err := ioctl(v.descriptor, reqGetFPU, &f)
	return f, v.wrap(opGetFPU, err)
}

// SetFPU sets the x87 and SSE registers.
func (v *VCPU) SetFPU(f FPU) error {
	_, err := ioctl(v.descriptor, reqSetFPU, &f)
	return v.wrap(opSetFPU, err)
}

// XCRS reads the extended control registers (XCR0).
func (v *VCPU) XCRS() (XCRS, error) {
	var x XCRS
	_, err := ioctl(v.descriptor, reqGetXCRS, &x)
	return x, v.wrapNeed(opGetXCRS, err, CapXCRS)
}

// SetXCRS sets the extended control registers (XCR0).
func (v *VCPU) SetXCRS(x XCRS) error {
	_, err := ioctl(v.descriptor, reqSetXCRS, &x)
	return v.wrapNeed(opSetXCRS, err, CapXCRS)
}

// DebugRegs reads DR0-DR3, DR6 and DR7.
func (v *VCPU) DebugRegs() (DebugRegs, error) {
	var d DebugRegs
	_, err := ioctl(v.descriptor, reqGetDebugRegs, &d)
	return d, v.wrapNeed(opGetDebugRegs, err, CapDebugRegs)
}

// SetDebugRegs sets DR0-DR3, DR6 and DR7.
func (v *VCPU) SetDebugRegs(d DebugRegs) error {
	_, err := ioctl(v.descriptor, reqSetDebugRegs, &d)
	return v.wrapNeed(opSetDebugRegs, err, CapDebugRegs)
}

// MPState reads where the vCPU is in its start-up (CapMPState).
func (v *VCPU) MPState() (MPState, error) {
	var s MPState
	_, err := ioctl(v.descriptor, reqGetMPState, &s)
	return s, v.wrapNeed(opGetMPState, err, CapMPState)
}

// SetMPState sets it; without in-kernel irqchip only MPRunnable is valid.
func (v *VCPU) SetMPState(s MPState) error {
	_, err := ioctl(v.descriptor, reqSetMPState, &s)
	return v.wrapNeed(opSetMPState, err, CapMPState)
}

// Events reads pending exceptions, interrupts, NMIs and SMIs (CapVCPUEvents).
func (v *VCPU) Events() (VCPUEvents, error) {
	var e VCPUEvents
	_, err := ioctl(v.descriptor, reqGetVCPUEvents, &e)
	return e, v.wrapNeed(opGetEvents, err, CapVCPUEvents)
}

// SetEvents sets them; e.Flags says which of the optional parts count.
func (v *VCPU) SetEvents(e VCPUEvents) error {
	_, err := ioctl(v.descriptor, reqSetVCPUEvents, &e)
	return v.wrapNeed(opSetEvents, err, CapVCPUEvents)
}

// Translate walks the guest's page tables, as they are now, for a linear
// address. Valid is 0 if it is not mapped.
func (v *VCPU) Translate(linear uint64) (Translated, error) {
	t := Translated{LinearAddress: linear}
	_, err := ioctl(v.descriptor, reqTranslate, &t)
	return t, v.wrap(opTranslate, err)
}

// Interrupt queues an external interrupt with this vector. It is for VMs
// without in-kernel irqchip.
func (v *VCPU) Interrupt(vector uint32) error {
	_, err := ioctl(v.descriptor, reqInterrupt, &vector)
	return v.wrap(opInterrupt, err)
}

// NMI queues a non-maskable interrupt (CapUserNMI).
func (v *VCPU) NMI() error {
	_, err := ioctlValue(v.descriptor, reqNMI, 0)
	return v.wrapNeed(opNMI, err, CapUserNMI)
}

// SMI queues a system management interrupt (CapX86SMM).
func (v *VCPU) SMI() error {
	_, err := ioctlValue(v.descriptor, reqSMI, 0)
	return v.wrapNeed(opSMI, err, CapX86SMM)
}

func (v *VCPU) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Object: v.object, Err: err}
}

// wrapNeed is wrap for an operation that needs a capability.
func (v *VCPU) wrapNeed(op string, err error, need Capability) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Object: v.object, Err: v.because(err, need)}
}
