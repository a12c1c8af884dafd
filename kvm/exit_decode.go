package kvm

// The structs of kvm_run's union, one for each exit that is decoded.
type (
	runIO struct {
		Direction  uint8
		Size       uint8
		Port       uint16
		Count      uint32
		DataOffset uint64 // from the start of kvm_run
	}
	runMMIO struct {
		PhysAddr uint64
		Data     [8]uint8
		Len      uint32
		IsWrite  uint8
	}
	runFailEntry struct {
		HardwareReason uint64
		CPU            uint32
	}
	runInternal struct {
		Suberror uint32
		NData    uint32
		Data     [16]uint64
	}
	runEmulationFailure struct {
		Suberror  uint32
		NData     uint32
		Flags     uint64
		InsnSize  uint8
		InsnBytes [15]uint8
	}
	runSystemEvent struct {
		Type  uint32
		NData uint32
		Data  [16]uint64
	}
	runDebug struct {
		Exception uint32
		_         uint32
		PC        uint64
		DR6       uint64
		DR7       uint64
	}
	runEOI struct{ Vector uint8 }
	runMSR struct {
		Error  uint8
		_      [7]uint8
		Reason uint32
		Index  uint32
		Data   uint64
	}
	runHypercall struct {
		Nr       uint64
		Args     [6]uint64
		Ret      uint64
		LongMode uint32
		_        uint32
	}
	runHW struct{ HardwareReason uint64 }
)

const (
	ioOut = 1 // KVM_EXIT_IO_OUT

	insnBytesValid = 1 << 0 // KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
)

// decode turns kvm_run into one of v.exits. What stays in kvm_run is only the
// data that the monitor may have to fill in. It returns nil for an IO exit
// whose data the kernel says is outside of kvm_run.
func (v *VCPU) decode() Exit {
	r := v.run
	switch r.ExitReason {
	case ReasonIO:
		return v.decodeIO()
	case ReasonMMIO:
		m := exitAs[runMMIO](r)
		e := &v.exits.mmio
		e.GPA, e.Write = m.PhysAddr, m.IsWrite != 0
		e.Data = m.Data[:min(m.Len, uint32(len(m.Data)))]
		return e
	case ReasonHLT:
		return &v.exits.hlt
	case ReasonShutdown:
		return &v.exits.shutdown
	case ReasonFailEntry:
		f := exitAs[runFailEntry](r)
		e := &v.exits.failEntry
		e.HardwareReason, e.CPU = f.HardwareReason, f.CPU
		return e
	case ReasonInternalError:
		return v.decodeInternalError()
	case ReasonSystemEvent:
		s := exitAs[runSystemEvent](r)
		e := &v.exits.systemEvent
		e.Type, e.Data = SystemEventType(s.Type), s.Data
		e.NData = int(min(s.NData, uint32(len(s.Data))))
		return e
	case ReasonDebug:
		d := exitAs[runDebug](r)
		v.exits.debug = Debug{Exception: d.Exception, PC: d.PC, DR6: d.DR6, DR7: d.DR7}
		return &v.exits.debug
	case ReasonIRQWindowOpen:
		return &v.exits.irqWindow
	case ReasonIOAPICEOI:
		v.exits.ioapicEOI.Vector = exitAs[runEOI](r).Vector
		return &v.exits.ioapicEOI
	case ReasonX86RDMSR, ReasonX86WRMSR:
		m := exitAs[runMSR](r)
		v.exits.msr = MSRAccess{Write: r.ExitReason == ReasonX86WRMSR, Index: m.Index, Why: m.Reason, Data: m.Data}
		return &v.exits.msr
	case ReasonHypercall:
		h := exitAs[runHypercall](r)
		v.exits.hypercall = Hypercall{Nr: h.Nr, Args: h.Args}
		return &v.exits.hypercall
	}
	e := &v.exits.unknown
	*e = UnknownExit{Number: r.ExitReason}
	if r.ExitReason == ReasonUnknown {
		e.HardwareReason = exitAs[runHW](r).HardwareReason
	}
	return e
}

func (v *VCPU) decodeIO() Exit {
	io := exitAs[runIO](v.run)
	e := &v.exits.io
	e.Port, e.In = io.Port, io.Direction != ioOut
	e.Size, e.Count = int(io.Size), int(io.Count)
	n := uint64(io.Size) * uint64(io.Count)
	if io.DataOffset > uint64(len(v.mem)) || n > uint64(len(v.mem))-io.DataOffset {
		return nil
	}
	e.Data = v.mem[io.DataOffset : io.DataOffset+n : io.DataOffset+n]
	return e
}

func (v *VCPU) decodeInternalError() Exit {
	i := exitAs[runInternal](v.run)
	e := &v.exits.internalError
	e.Suberror, e.Data = Suberror(i.Suberror), i.Data
	e.NData = int(min(i.NData, uint32(len(i.Data))))
	e.Insn = nil
	if e.Suberror != SuberrorEmulation || i.NData == 0 {
		return e
	}
	// ndata counts the 64-bit words after it: flags, then what flags name.
	f := exitAs[runEmulationFailure](v.run)
	if f.Flags&insnBytesValid != 0 && i.NData >= 3 {
		e.insn = f.InsnBytes
		e.Insn = e.insn[:min(int(f.InsnSize), len(e.insn))]
	}
	return e
}

// CompleteMSR answers an MSRAccess exit before the next Run: with the value
// that a RDMSR reads, or, if fail is set, with a #GP in the guest.
func (v *VCPU) CompleteMSR(value uint64, fail bool) error {
	if !v.acquire() {
		return &Error{Op: opCompleteMSR, Object: v.object, Err: ErrClosed}
	}
	defer v.done()
	m := exitAs[runMSR](v.run)
	m.Data, m.Error = value, 0
	if fail {
		m.Error = 1
	}
	return nil
}

// CompleteHypercall sets what a Hypercall exit returns to the guest.
func (v *VCPU) CompleteHypercall(result uint64) error {
	if !v.acquire() {
		return &Error{Op: opCompleteHypercall, Object: v.object, Err: ErrClosed}
	}
	defer v.done()
	exitAs[runHypercall](v.run).Ret = result
	return nil
}
