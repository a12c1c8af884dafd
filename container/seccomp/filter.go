package seccomp

import (
	"errors"

	"golang.org/x/sys/unix"
)

// MaxInstructions is the longest program that the kernel takes: BPF_MAXINSNS of linux/bpf_common.h.
const MaxInstructions = 4096

// ErrTooLong is in the error of Compile for a profile whose program is longer than MaxInstructions.
var ErrTooLong = errors.New("too long for the kernel")

// Filter is a compiled profile: what one call of seccomp(2) with SECCOMP_SET_MODE_FILTER needs. It does not change
// once it is made, and may be used from several goroutines at once.
type Filter struct {
	// Program is the BPF program, ready for struct sock_fprog. It is never empty.
	Program []unix.SockFilter
	// Flags are SECCOMP_FILTER_FLAG_* for the call.
	Flags uint
	// Notify says that the program can return SECCOMP_RET_USER_NOTIF. Flags then hold
	// SECCOMP_FILTER_FLAG_NEW_LISTENER, and the call returns the listener's descriptor, which is close-on-exec.
	//
	// The calls that the process itself makes between that and its exec are asked about as well. Evaluate tells which:
	// a process that has to write the descriptor's number to somebody must not have to ask about write first.
	Notify bool
	// ListenerPath and ListenerMetadata are the profile's, empty unless Notify is set: where SendListener takes the
	// descriptor, and the opaque word that goes with it in specs.ContainerProcessState.
	ListenerPath, ListenerMetadata string
	// Unknown are the names of the profile that no x86 system call has, sorted.
	Unknown []string
}

// Fprog returns the program as seccomp(2) takes it. It points to f.Program.
func (f *Filter) Fprog() *unix.SockFprog {
	return &unix.SockFprog{Len: uint16(len(f.Program)), Filter: &f.Program[0]}
}
