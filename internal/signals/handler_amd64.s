#include "textflag.h"

// The kernel calls it as a C function: the signal's number is in DI. It may interrupt anything, so it touches nothing but its
// own stack; the kernel gives the registers back. A pipe that is full loses the signal. In a process that was forked, and has
// not executed its program yet, another file may have the pipe's number.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	SUBQ $8, SP
	MOVB DI, 0(SP)
	MOVL $39, AX // SYS_getpid
	SYSCALL
	CMPL AX, ·relayTo+4(SB)
	JNE  done
	MOVL ·relayTo+0(SB), DI
	MOVQ SP, SI
	MOVL $1, DX // one byte
	MOVL $1, AX // SYS_write
	SYSCALL

done:
	ADDQ $8, SP
	RET

// Where handler returns to.
TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVL $15, AX // SYS_rt_sigreturn
	SYSCALL
	INT  $3

DATA ·handlerPC(SB)/8, $·handler(SB)
GLOBL ·handlerPC(SB), NOPTR, $8

DATA ·restorerPC(SB)/8, $·restorer(SB)
GLOBL ·restorerPC(SB), NOPTR, $8
