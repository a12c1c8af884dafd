package seccomp

import (
	"golang.org/x/sys/unix"
)

// MaxInstructions is the longest program that the kernel takes: BPF_MAXINSNS of linux/bpf_common.h.
const MaxInstructions = 4096

// Filter is a compiled profile: what one call of seccomp(2) with SECCOMP_SET_MODE_FILTER needs. It does not change
// once it is made, and may be used from several goroutines at once.
type Filter struct {
	// Program is the BPF program, ready for struct sock_fprog. It is never empty.
	Program []unix.SockFilter
	// Flags are SECCOMP_FILTER_FLAG_* for the call.
	Flags uint
	// Notify says that the program can return SECCOMP_RET_USER_NOTIF. Flags then hold
	// SECCOMP_FILTER_FLAG_NEW_LISTENER, and the call returns the listener's descriptor, which is close-on-exec.
	Notify bool
	// ListenerPath and ListenerMetadata are the profile's: where SendListener takes the descriptor, and the opaque
	// word that goes with it in specs.ContainerProcessState. The path may be set only if Notify is.
	ListenerPath, ListenerMetadata string
	// Unknown are the names of the profile that no architecture of its has, sorted: they were left out, as in runc.
	Unknown []string
}

// Fprog returns the program as seccomp(2) takes it, with len and filter filled in. It points to f.Program.
func (f *Filter) Fprog() *unix.SockFprog {
	return &unix.SockFprog{Len: uint16(len(f.Program)), Filter: &f.Program[0]}
}
