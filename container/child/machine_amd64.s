#include "textflag.h"

// System calls, and what is said with them.
#define SYS_read $0
#define SYS_write $1
#define SYS_rt_sigprocmask $14
#define SYS_clone $56
#define SYS_exit_group $231
#define SYS_clone3 $435
#define SIG_SETMASK $2
#define SIGSET_SIZE $8
#define CLONE_PARENT_SIGCHLD $0x8011
#define CLONE_ARGS_SIZE $88
#define ENOSYS $38
#define ECANCELED $125

// The header, see machine.go: offsets in bytes.
#define ACK 16
#define REGISTERS 24
#define BEGIN 32
#define MASK $40

// Kinds of instructions, and of records.
#define KIND_CALL $0
#define KIND_JUMP $1
#define KIND_MOVE $2
#define KIND_SYNC $3
#define KIND_FORK $4
#define KIND_EXPECT $5
#define KIND_STORE_REG $6
#define KIND_LOAD $7
#define KIND_AWAIT $8
#define RECORD_FAILED $1
#define RECORD_SYNC $2
#define RECORD_FORKED $3
#define RECORD_SIZE $16
#define EXIT_FAILED $126

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
	MOVQ	SIG_SETMASK, DI
	MOVQ	block+8(FP), SI
	MOVQ	program+16(FP), DX
	ADDQ	MASK, DX	// becomes those that were blocked before
	MOVQ	SIGSET_SIZE, R10
	MOVQ	SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ	args+0(FP), DI
	MOVQ	CLONE_ARGS_SIZE, SI
	MOVQ	SYS_clone3, AX
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	MOVQ	AX, pid+24(FP)
	MOVQ	SIG_SETMASK, DI
	MOVQ	program+16(FP), SI
	ADDQ	MASK, SI
	MOVQ	$0, DX
	MOVQ	SIGSET_SIZE, R10
	MOVQ	SYS_rt_sigprocmask, AX
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
	MOVQ	REGISTERS(R12), R13
	MOVQ	BEGIN(R12), BX

next:
	MOVQ	0(BX), R14	// kind, bytes of arguments, handlers, which arguments are registers, result's register
	MOVQ	8(BX), R15	// number, and the system call's
	ADDQ	$16, BX
	MOVBLZX	R14, AX
	CMPL	AX, KIND_CALL
	JEQ	call
	CMPL	AX, KIND_JUMP
	JEQ	jump
	CMPL	AX, KIND_MOVE
	JEQ	move
	CMPL	AX, KIND_SYNC
	JEQ	sync
	CMPL	AX, KIND_FORK
	JEQ	fork
	CMPL	AX, KIND_EXPECT
	JEQ	expect
	CMPL	AX, KIND_STORE_REG
	JEQ	storeReg
	CMPL	AX, KIND_LOAD
	JEQ	load
	CMPL	AX, KIND_AWAIT
	JEQ	await
	MOVQ	ENOSYS, AX	// there is no such instruction
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
	MOVL	RECORD_SYNC, 0(R12)
	MOVL	R15, 4(R12)
	MOVQ	R15, CX
	SHRQ	$32, CX
	MOVL	CX, 8(R12)
	MOVL	DX, 12(R12)
	MOVQ	(R13), DI
	MOVQ	R12, SI
	MOVQ	RECORD_SIZE, DX
	MOVQ	SYS_write, AX
	SYSCALL
	CMPQ	AX, $-4095
	JCC	negated

	// Wait for the byte alone.
await:
	MOVQ	(R13), DI
	LEAQ	ACK(R12), SI
	MOVQ	$1, DX
	MOVQ	SYS_read, AX
	SYSCALL
	CMPQ	AX, $1
	JEQ	next
	TESTQ	AX, AX
	JNE	negated
	MOVQ	ECANCELED, AX	// the parent is gone, or does not want the child any more
	JMP	failed

	// A sibling goes on in this process's place, once the parent knows of it.
fork:
	MOVQ	CLONE_PARENT_SIGCHLD, DI
	MOVQ	$0, SI
	MOVQ	$0, DX
	MOVQ	$0, R10
	MOVQ	$0, R8
	MOVQ	SYS_clone, AX
	SYSCALL
	TESTQ	AX, AX
	JEQ	await
	CMPQ	AX, $-4095
	JCC	negated
	MOVL	RECORD_FORKED, 0(R12)
	MOVL	R15, 4(R12)
	MOVL	AX, 8(R12)
	MOVL	$0, 12(R12)
	MOVQ	(R13), DI
	MOVQ	R12, SI
	MOVQ	RECORD_SIZE, DX
	MOVQ	SYS_write, AX
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
	MOVL	RECORD_FAILED, 0(R12)
	MOVL	R15, 4(R12)
	MOVL	AX, 8(R12)
	MOVL	$0, 12(R12)
	MOVQ	(R13), DI
	MOVQ	R12, SI
	MOVQ	RECORD_SIZE, DX
	MOVQ	SYS_write, AX
	SYSCALL
	MOVQ	EXIT_FAILED, DI
exit:
	MOVQ	SYS_exit_group, AX
	SYSCALL
	JMP	exit

	// The end, as machineText finds it.
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
	BYTE $0xf4; BYTE $0xf4; BYTE $0xf4; BYTE $0xf4
