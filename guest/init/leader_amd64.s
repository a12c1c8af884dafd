#include "textflag.h"

// System calls and their constants, of asm/unistd_64.h and so on.
#define SYS_read 0
#define SYS_write 1
#define SYS_rt_sigprocmask 14
#define SYS_fork 57
#define SYS_execve 59
#define SYS_wait4 61
#define SYS_fcntl 72
#define SYS_prctl 157
#define SYS_exit_group 231
#define SIG_SETMASK 2
#define F_SETFD 2
#define FD_CLOEXEC 1
#define PR_SET_NAME 15
#define statusFD 3
#define holdFD 4

// leaderProgram is never called: leaderImage copies it into a file of its own, where it begins with the stack that
// execve(2) makes: the number of arguments, the arguments, nil, the environment, nil. What lies below the stack is its
// memory; there are no signals that could write to it. See leader.go for what it does.
//
TEXT ·leaderProgram(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ SP, R12

	// A terminal's signals go to each process of the group. The program is to decide what it does about them.
	MOVQ $-1, AX
	MOVQ AX, -8(R12)
	MOVL $SIG_SETMASK, DI
	LEAQ -8(R12), SI
	LEAQ -16(R12), DX
	MOVL $8, R10
	MOVL $SYS_rt_sigprocmask, AX
	SYSCALL

	MOVQ $0x00656c6f736e6f63, AX // "console", for ps
	MOVQ AX, -8(R12)
	MOVL $PR_SET_NAME, DI
	LEAQ -8(R12), SI
	MOVL $SYS_prctl, AX
	SYSCALL

	MOVL  $SYS_fork, AX
	SYSCALL
	TESTQ AX, AX
	JLT   failed
	JEQ   program

	MOVQ AX, DI
	LEAQ -8(R12), SI
	XORL DX, DX
	XORL R10, R10
	MOVL $SYS_wait4, AX
	SYSCALL
	MOVL $statusFD, DI
	LEAQ -8(R12), SI
	MOVL $4, DX
	MOVL $SYS_write, AX
	SYSCALL

	// Until init has closed the other end.
	MOVL $holdFD, DI
	LEAQ -8(R12), SI
	MOVL $1, DX
	MOVL $SYS_read, AX
	SYSCALL
	XORL DI, DI
	MOVL $SYS_exit_group, AX
	SYSCALL

program:
	MOVL $SIG_SETMASK, DI
	LEAQ -16(R12), SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $SYS_rt_sigprocmask, AX
	SYSCALL
	MOVL $statusFD, DI
	MOVL $F_SETFD, SI
	MOVL $FD_CLOEXEC, DX
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVL $holdFD, DI
	MOVL $F_SETFD, SI
	MOVL $FD_CLOEXEC, DX
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	LEAQ 16(R12), SI
	LEAQ 16(R12)(AX*8), DX
	MOVL $SYS_execve, AX
	SYSCALL

failed:
	MOVL AX, -8(R12)
	MOVL $statusFD, DI
	LEAQ -8(R12), SI
	MOVL $4, DX
	MOVL $SYS_write, AX
	SYSCALL
	MOVL $127, DI
	MOVL $SYS_exit_group, AX
	SYSCALL

	// leaderEnd
	BYTE $0xcc; BYTE $'t'; BYTE $'a'; BYTE $'n'; BYTE $'d'; BYTE $'e'; BYTE $'m'; BYTE $0xcc

// func leaderAddress() unsafe.Pointer
TEXT ·leaderAddress(SB), NOSPLIT, $0-8
	LEAQ ·leaderProgram(SB), AX
	MOVQ AX, ret+0(FP)
	RET
