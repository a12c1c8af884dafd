package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// On 32-bit x86, sockets and System V IPC came into the kernel behind two system calls, socketcall and ipc, whose
// first argument says what is meant (SYS_* of linux/net.h, and linux/ipc.h). Calls of their own came decades later,
// not for all of them, and old programs keep to the two. So a rule for one of these names has to speak of both ways.
//
// What is passed to the call proper lies in memory behind socketcall's second argument, where no filter can look. A
// condition on the first argument of socket(2) is therefore lost on that way, as it is in libseccomp.
//
// Both are switches rather than maps, which would be built at each start of the program.
func socketcall(name string) (call uint64) {
	switch name {
	case "socket":
		return 1
	case "bind":
		return 2
	case "connect":
		return 3
	case "listen":
		return 4
	case "accept":
		return 5
	case "getsockname":
		return 6
	case "getpeername":
		return 7
	case "socketpair":
		return 8
	case "send":
		return 9
	case "recv":
		return 10
	case "sendto":
		return 11
	case "recvfrom":
		return 12
	case "shutdown":
		return 13
	case "setsockopt":
		return 14
	case "getsockopt":
		return 15
	case "sendmsg":
		return 16
	case "recvmsg":
		return 17
	case "accept4":
		return 18
	case "recvmmsg":
		return 19
	case "sendmmsg":
		return 20
	}
	return 0
}

func ipc(name string) (call uint64) {
	switch name {
	case "semop":
		return 1
	case "semget":
		return 2
	case "semctl":
		return 3
	case "semtimedop":
		return 4
	case "msgsnd":
		return 11
	case "msgrcv":
		return 12
	case "msgget":
		return 13
	case "msgctl":
		return 14
	case "shmat":
		return 21
	case "shmdt":
		return 22
	case "shmget":
		return 23
	case "shmctl":
		return 24
	}
	return 0
}

// multiplexed returns the rule for a call that goes through socketcall or ipc, if there is that way.
func (r rule) multiplexed() (rule, bool) {
	if call := socketcall(r.syscall.name); call != 0 {
		return r.through("socketcall", condition{op: specs.OpEqualTo, value: call}), true
	}
	if call := ipc(r.syscall.name); call != 0 {
		// The upper 16 bits hold a version, which the kernel takes off (ksys_ipc of ipc/syscall.c). libseccomp compares
		// all 32, and so has a rule that denies a call passed by with version 1.
		return r.through("ipc", condition{op: specs.OpMaskedEqual, value: call, mask: 0xffff}), true
	}
	return rule{}, false
}

func (r rule) through(name string, first condition) rule {
	rest := r.conditions
	if len(rest) > 0 && rest[0].arg == 0 {
		rest = rest[1:]
	}
	return rule{findSyscall(name), slices.Concat([]condition{first}, rest), r.action}
}
