#include "textflag.h"

// The child's half: machine code that a process runs which has no Go in it. See machine.go for what it reads.
//
//	R12  the header of what is run: record, ack, registers, where to begin
//	R13  the registers
//	BX   the next instruction
//	R14  the first word of this one, R15 the second
//
// It uses no stack, and no address but relative ones, so that it runs wherever it is copied to. SYSCALL leaves all
// registers as they were but AX, CX and R11.

// func clone(args *cloneArgs, block, program *uint64) (pid int)
//
// The child goes on at machine, on the caller's stack, which it does not touch; and in the caller's memory, unless it was
// cloned without CLONE_VM. Signals are blocked meanwhile: none of Go's handlers may ever run in the child.
TEXT ·clone(SB), NOSPLIT, $0-32
	MOVQ	$2, DI	// SIG_SETMASK
	MOVQ	block+8(FP), SI
	MOVQ	program+16(FP), DX
	ADDQ	$40, DX	// header.mask: those that were blocked before
	MOVQ	$8, R10
	MOVQ	$14, AX	// rt_sigprocmask
	SYSCALL
	MOVQ	args+0(FP), DI
	MOVQ	$88, SI	// sizeof(struct clone_args)
	MOVQ	$435, AX	// clone3
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	MOVQ	AX, pid+24(FP)
	MOVQ	$2, DI
	MOVQ	program+16(FP), SI
	ADDQ	$40, SI
	MOVQ	$0, DX
	MOVQ	$8, R10
	MOVQ	$14, AX
	SYSCALL
	RET
child:
	MOVQ	program+16(FP), R12
	JMP	·machine(SB)

// func machineCode() unsafe.Pointer
TEXT ·machineCode(SB), NOSPLIT, $0-8
	LEAQ	·machine(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·machine(SB), NOSPLIT|NOFRAME, $0
	MOVQ	24(R12), R13
	MOVQ	32(R12), BX

next:
	MOVQ	0(BX), R14	// op, bytes of arguments, handlers, which arguments are registers, result's register
	MOVQ	8(BX), R15	// number, and the system call's
	ADDQ	$16, BX
	MOVBLZX	R14, AX
	CMPL	AX, $0
	JEQ	call
	CMPL	AX, $1
	JEQ	jump
	CMPL	AX, $2
	JEQ	move
	CMPL	AX, $3
	JEQ	sync
	CMPL	AX, $4
	JEQ	fork
	CMPL	AX, $5
	JEQ	expect
	CMPL	AX, $6
	JEQ	storeReg
	CMPL	AX, $7
	JEQ	load
	CMPL	AX, $8
	JEQ	await
	MOVQ	$38, AX	// ENOSYS: there is no such instruction
	JMP	failed

	// A system call: where its handlers are, and its arguments.
call:
	MOVQ	8(BX), DI
	MOVQ	16(BX), SI
	MOVQ	24(BX), DX
	MOVQ	32(BX), R10
	MOVQ	40(BX), R8
	MOVQ	48(BX), R9
	BTQ	$24, R14
	JCC	arg1
	MOVQ	(R13)(DI*8), DI
arg1:
	BTQ	$25, R14
	JCC	arg2
	MOVQ	(R13)(SI*8), SI
arg2:
	BTQ	$26, R14
	JCC	arg3
	MOVQ	(R13)(DX*8), DX
arg3:
	BTQ	$27, R14
	JCC	arg4
	MOVQ	(R13)(R10*8), R10
arg4:
	BTQ	$28, R14
	JCC	arg5
	MOVQ	(R13)(R8*8), R8
arg5:
	BTQ	$29, R14
	JCC	arg6
	MOVQ	(R13)(R9*8), R9
arg6:
	MOVQ	R15, AX
	SHRQ	$32, AX
	SYSCALL
	MOVQ	0(BX), SI
	MOVQ	R14, CX
	SHRQ	$8, CX
	MOVBLZX	CX, DX
	LEAQ	8(BX)(DX*1), BX	// the next instruction
	CMPQ	AX, $-4095
	JCC	handle
result:
	MOVQ	R14, CX
	SHRQ	$32, CX
	JEQ	next
	MOVQ	AX, (R13)(CX*8)
	JMP	next
handle:
	NEGQ	AX
	SHRQ	$8, CX
	MOVBLZX	CX, CX	// how many handlers
again:
	TESTQ	CX, CX
	JEQ	failed
	CMPL	AX, 0(SI)
	JEQ	handled
	ADDQ	$8, SI
	DECQ	CX
	JMP	again
handled:
	MOVL	4(SI), AX
	TESTQ	AX, AX
	JEQ	next
	MOVQ	AX, BX
	JMP	next

jump:
	MOVQ	R15, BX
	SHRQ	$32, BX
	JMP	next

	// A number into a register.
move:
	MOVQ	0(BX), AX
	ADDQ	$8, BX
	MOVQ	R14, CX
	SHRQ	$32, CX
	MOVQ	AX, (R13)(CX*8)
	JMP	next

	// Tell the parent where the child stands, and what a register holds, and wait for a byte.
sync:
	MOVQ	0(BX), CX
	ADDQ	$8, BX
	MOVQ	$0, DX
	TESTQ	CX, CX	// register 0 is the connection's, and stands for none here
	JEQ	tell
	MOVQ	(R13)(CX*8), DX
tell:
	MOVL	$2, 0(R12)	// recordSync
	MOVL	R15, 4(R12)
	MOVQ	R15, CX
	SHRQ	$32, CX
	MOVL	CX, 8(R12)
	MOVL	DX, 12(R12)
	MOVQ	(R13), DI
	MOVQ	R12, SI
	MOVQ	$16, DX
	MOVQ	$1, AX	// write
	SYSCALL
	CMPQ	AX, $-4095
	JCC	negated

	// Wait for the byte alone.
await:
	MOVQ	(R13), DI
	LEAQ	16(R12), SI
	MOVQ	$1, DX
	MOVQ	$0, AX	// read
	SYSCALL
	CMPQ	AX, $1
	JEQ	next
	TESTQ	AX, AX
	JNE	negated
	MOVQ	$125, AX	// ECANCELED: the parent is gone, or does not want the child any more
	JMP	failed

	// A sibling goes on in this process's place, once the parent knows of it.
fork:
	MOVQ	$0x8011, DI	// CLONE_PARENT | SIGCHLD
	MOVQ	$0, SI
	MOVQ	$0, DX
	MOVQ	$0, R10
	MOVQ	$0, R8
	MOVQ	$56, AX	// clone
	SYSCALL
	TESTQ	AX, AX
	JEQ	await
	CMPQ	AX, $-4095
	JCC	negated
	MOVL	$3, 0(R12)	// recordForked
	MOVL	R15, 4(R12)
	MOVL	AX, 8(R12)
	MOVL	$0, 12(R12)
	MOVQ	(R13), DI
	MOVQ	R12, SI
	MOVQ	$16, DX
	MOVQ	$1, AX
	SYSCALL
	MOVQ	$0, DI
	JMP	exit

	// A word in memory, its mask, what is wanted; and where to go on otherwise, or the errno to fail with.
expect:
	MOVQ	0(BX), SI
	MOVQ	8(BX), DX
	MOVQ	16(BX), DI
	MOVQ	24(BX), CX
	ADDQ	$32, BX
	MOVL	0(SI), AX
	BTQ	$8, R14	// eight bytes
	JCC	narrow
	MOVQ	0(SI), AX
narrow:
	ANDQ	DX, AX
	CMPQ	AX, DI
	JEQ	next
	MOVL	CX, AX
	SHRQ	$32, CX
	JEQ	failed
	MOVQ	CX, BX
	JMP	next

	// A register's value into memory.
storeReg:
	MOVQ	0(BX), SI
	MOVQ	8(BX), AX
	ADDQ	$16, BX
	MOVQ	(R13)(AX*8), AX
	MOVQ	AX, 0(SI)
	JMP	next

	// And a masked word of memory into a register.
load:
	MOVQ	0(BX), SI
	MOVQ	8(BX), DX
	ADDQ	$16, BX
	MOVL	0(SI), AX
	BTQ	$8, R14
	JCC	masked
	MOVQ	0(SI), AX
masked:
	ANDQ	DX, AX
	JMP	result

negated:
	NEGQ	AX
failed:
	MOVL	$1, 0(R12)	// recordFailed
	MOVL	R15, 4(R12)
	MOVL	AX, 8(R12)
	MOVL	$0, 12(R12)
	MOVQ	(R13), DI
	MOVQ	R12, SI
	MOVQ	$16, DX
	MOVQ	$1, AX
	SYSCALL
	MOVQ	$126, DI	// exitFailed
exit:
	MOVQ	$231, AX	// exit_group
	SYSCALL
	JMP	exit

	// The end, as machineText finds it.
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
