package kvm

// Clock reads kvmclock as the guest sees it; with flags, beside the host's
// clocks at the same instant (ClockRealtime, ClockHostTSC).
func (vm *VM) Clock() (ClockData, error) {
	var c ClockData
	if _, err := ioctl(vm.descriptor, reqGetClock, &c); err != nil {
		return c, &Error{Op: opGetClock, Err: vm.because(err, CapAdjustClock)}
	}
	return c, nil
}

// SetClock sets kvmclock. Of Flags the kernel takes only ClockRealtime, and
// then adds the real time that went by since.
func (vm *VM) SetClock(c ClockData) error {
	c.Flags &= ClockRealtime
	if _, err := ioctl(vm.descriptor, reqSetClock, &c); err != nil {
		return &Error{Op: opSetClock, Err: vm.because(err, CapAdjustClock)}
	}
	return nil
}

// SetTSCKHz sets the frequency of the TSC for vCPUs made from now on
// (CapVMTSCControl).
func (vm *VM) SetTSCKHz(khz uint32) error {
	if _, err := ioctlValue(vm.descriptor, reqSetTSCKHz, uint64(khz)); err != nil {
		return &Error{Op: opSetTSCKHz, Object: itoa(uint64(khz)), Err: vm.because(err, CapVMTSCControl)}
	}
	return nil
}

// TSCKHz is the frequency of the vCPU's TSC (CapGetTSCKHz).
func (v *VCPU) TSCKHz() (uint32, error) {
	n, err := ioctlValue(v.descriptor, reqGetTSCKHz, 0)
	if err != nil {
		return 0, &Error{Op: opGetTSCKHz, Object: v.object, Err: v.because(err, CapGetTSCKHz)}
	}
	return uint32(n), nil
}

// SetTSCKHz sets the frequency of the vCPU's TSC (CapTSCControl).
func (v *VCPU) SetTSCKHz(khz uint32) error {
	if _, err := ioctlValue(v.descriptor, reqSetTSCKHz, uint64(khz)); err != nil {
		return &Error{Op: opSetTSCKHz, Object: v.object, Err: v.because(err, CapTSCControl)}
	}
	return nil
}

// KVMClockCtrl tells the guest's watchdogs, through its kvmclock page, that
// it was paused by the host. It fails with EINVAL if the guest has not set
// up kvmclock.
func (v *VCPU) KVMClockCtrl() error {
	if _, err := ioctlValue(v.descriptor, reqKVMClockCtrl, 0); err != nil {
		return &Error{Op: opClockCtrl, Object: v.object, Err: v.because(err, CapKVMClockCtrl)}
	}
	return nil
}
