package seccomp

// Data is struct seccomp_data of linux/seccomp.h: what a program sees of a system call.
type Data struct {
	NR                 int32  // the number, with bit 30 set for x32
	Arch               uint32 // AUDIT_ARCH_* of linux/audit.h
	InstructionPointer uint64
	Args               [6]uint64
}

// Action is what a program returns: SECCOMP_RET_* in the upper 16 bits, data for it in the lower.
type Action uint32
