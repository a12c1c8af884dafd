package testenv

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func openKprobe(kind uint32, function string) (int, error) {
	name, err := unix.BytePtrFromString(function)
	if err != nil {
		return -1, err
	}
	attr := unix.PerfEventAttr{
		Type: kind,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Ext1: uint64(uintptr(unsafe.Pointer(name))), // kprobe_func
	}
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	runtime.KeepAlive(name)
	return fd, err
}

// bpfProgram is the part of union bpf_attr that BPF_PROG_LOAD reads, up to attach_btf_id.
type bpfProgram struct {
	Type, Count        uint32
	Instructions       unsafe.Pointer
	License            unsafe.Pointer
	LogLevel, LogSize  uint32
	Log                uint64
	KernelVersion      uint32
	Flags              uint32
	Name               [16]byte
	Ifindex            uint32
	ExpectedAttachType uint32
	BTF                uint32
	FuncInfoSize       uint32
	FuncInfo           uint64
	FuncInfoCount      uint32
	LineInfoSize       uint32
	LineInfo           uint64
	LineInfoCount      uint32
	AttachBTF          uint32
}

// bpfRawTracepoint is what BPF_RAW_TRACEPOINT_OPEN reads. A tracing program names its target itself.
type bpfRawTracepoint struct {
	Name    uint64
	Program uint32
	_       uint32
}

func loadFentry(function uint32) (int, error) {
	code := [...]uint64{0xb7, 0x95} // mov r0, 0; exit
	license := [...]byte{'G', 'P', 'L', 0}
	return bpf(unix.BPF_PROG_LOAD, &bpfProgram{
		Type: unix.BPF_PROG_TYPE_TRACING, Count: uint32(len(code)),
		Instructions: unsafe.Pointer(&code), License: unsafe.Pointer(&license),
		ExpectedAttachType: unix.BPF_TRACE_FENTRY, AttachBTF: function,
	})
}

func attachTracing(program int) (int, error) {
	return bpf(unix.BPF_RAW_TRACEPOINT_OPEN, &bpfRawTracepoint{Program: uint32(program)})
}

func bpf[T any](command uintptr, attr *T) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
