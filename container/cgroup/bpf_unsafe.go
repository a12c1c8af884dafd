package cgroup

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What of bpf(2) it takes to attach a program to a group. A library for all of eBPF costs a runtime that starts and ends
// in milliseconds more time, before its first line, than the four commands do.

// bpfInstruction is struct bpf_insn (linux/bpf.h).
type bpfInstruction struct {
	code      uint8
	registers uint8 // source << 4 | destination
	offset    int16
	immediate int32
}

// bpf asks the kernel. size is what it is to read of the attributes, a prefix of union bpf_attr.
func bpf(command int, attributes unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attributes), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR, unix.EAGAIN: // the verifier stops for a signal, and Go's scheduler sends some
		default:
			return -1, errno
		}
	}
}

// loadDevices loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE.
func loadDevices(name, license string, program []bpfInstruction) (*os.File, error) {
	text := append([]byte(license), 0)
	attributes := struct {
		kind, count           uint32
		instructions, license unsafe.Pointer
		logLevel, logSize     uint32
		log                   uint64
		kernel, flags         uint32
		name                  [unix.BPF_OBJ_NAME_LEN]byte
	}{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(program)),
		instructions: unsafe.Pointer(unsafe.SliceData(program)), license: unsafe.Pointer(unsafe.SliceData(text)),
	}
	copy(attributes.name[:len(attributes.name)-1], name)
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attributes), unsafe.Sizeof(attributes))
	if err != nil {
		return nil, os.NewSyscallError("bpf BPF_PROG_LOAD", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// attachDevices attaches a program to a group. Others may attach programs too, to it and below it: all of them have to
// allow an access. With replace, the new one takes that one's place, so that at no time there is none.
func attachDevices(group, program, replace *os.File) error {
	attributes := struct{ target, program, kind, flags, replaced uint32 }{
		target: uint32(group.Fd()), program: uint32(program.Fd()), kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI,
	}
	if replace != nil {
		attributes.flags |= unix.BPF_F_REPLACE
		attributes.replaced = uint32(replace.Fd())
	}
	_, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attributes), unsafe.Sizeof(attributes))
	return os.NewSyscallError("bpf BPF_PROG_ATTACH", err)
}

func detachDevices(group, program *os.File) error {
	attributes := struct{ target, program, kind uint32 }{
		uint32(group.Fd()), uint32(program.Fd()), unix.BPF_CGROUP_DEVICE,
	}
	_, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attributes), unsafe.Sizeof(attributes))
	return os.NewSyscallError("bpf BPF_PROG_DETACH", err)
}

// attachedDevices are the numbers of the programs that are attached to a group.
func attachedDevices(group *os.File) ([]uint32, error) {
	for room := 8; ; room *= 2 {
		ids := make([]uint32, room)
		attributes := struct {
			target, kind, query, flags uint32
			ids                        unsafe.Pointer
			count, _                   uint32
		}{
			target: uint32(group.Fd()), kind: unix.BPF_CGROUP_DEVICE,
			ids: unsafe.Pointer(unsafe.SliceData(ids)), count: uint32(room),
		}
		_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attributes), unsafe.Sizeof(attributes))
		switch {
		case err == nil:
			return ids[:attributes.count], nil
		case !errors.Is(err, unix.ENOSPC) || room > 1<<10: // the kernel attaches 64 at most (BPF_CGROUP_MAX_PROGS)
			return nil, os.NewSyscallError("bpf BPF_PROG_QUERY", err)
		}
	}
}

// programByID opens a program, and tells its name. ENOENT is one that is no longer there.
func programByID(id uint32) (program *os.File, name string, err error) {
	attributes := struct{ id, next, flags uint32 }{id: id}
	fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attributes), unsafe.Sizeof(attributes))
	if err != nil {
		return nil, "", os.NewSyscallError("bpf BPF_PROG_GET_FD_BY_ID", err)
	}
	program = os.NewFile(uintptr(fd), "bpf program")
	// struct bpf_prog_info, up to the name.
	var info struct {
		kind, id                  uint32
		tag                       [8]byte
		jitedLength, xlatedLength uint32
		jited, xlated, load       uint64
		user, mapCount            uint32
		maps                      uint64
		name                      [unix.BPF_OBJ_NAME_LEN]byte
	}
	about := struct {
		fd, size uint32
		info     unsafe.Pointer
	}{uint32(fd), uint32(unsafe.Sizeof(info)), unsafe.Pointer(&info)}
	if _, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&about), unsafe.Sizeof(about)); err != nil {
		program.Close()
		return nil, "", os.NewSyscallError("bpf BPF_OBJ_GET_INFO_BY_FD", err)
	}
	return program, unix.ByteSliceToString(info.name[:]), nil
}
