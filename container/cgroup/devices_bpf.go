package cgroup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// programName is by which a program of ours is known among those that are attached to a group.
const programName = "tandem_devices"

// struct bpf_cgroup_dev_ctx (linux/bpf.h).
const (
	ctxAccessType = 0 // access << 16 | type
	ctxMajor      = 4
	ctxMinor      = 8

	bpfBlock = 1 // BPF_DEVCG_DEV_BLOCK
	bpfChar  = 2 // BPF_DEVCG_DEV_CHAR
)

// program is the same verdict as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, which the kernel runs with each
// open and mknod of a device in the group: 1 allows, 0 is EPERM.
//
//	r2 type  r3 access  r4 major  r5 minor  r1 scratch
//	rule-0:  if r2 != char goto rule-1
//	         r1 = r3 & ~(read|write);  if r1 != 0 goto rule-1
//	         if r4 != 5 goto rule-1
//	         if r5 != 2 goto rule-1
//	         return 1
//	rule-1:  ...
//	default: return 0
func (d Devices) program() []bpfInstruction {
	const load, move, shift = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, unix.BPF_ALU | unix.BPF_MOV, unix.BPF_ALU | unix.BPF_RSH
	program := []bpfInstruction{
		{code: load, registers: bpfContext<<4 | bpfType, offset: ctxAccessType},
		{code: move | unix.BPF_X, registers: bpfType<<4 | bpfAccess},
		{code: shift | unix.BPF_K, registers: bpfAccess, immediate: 16},
		{code: bpfAnd, registers: bpfType, immediate: 0xffff},
		{code: load, registers: bpfContext<<4 | bpfMajor, offset: ctxMajor},
		{code: load, registers: bpfContext<<4 | bpfMinor, offset: ctxMinor},
	}
	for _, e := range d.exceptions {
		program = append(program, d.compile(e)...)
	}
	return append(program, verdict(d.allow)...)
}

// The registers.
const (
	bpfResult = iota
	bpfScratch
	bpfType
	bpfAccess
	bpfMajor
	bpfMinor
	bpfContext = bpfScratch // that the kernel gives, until it has been read
)

// Instructions with a constant.
const (
	bpfAnd   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	bpfSet   = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K
	bpfIf    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bpfIfNot = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
)

func (d Devices) compile(e exception) []bpfInstruction {
	kind := int32(bpfChar)
	if e.kind == BlockDevice {
		kind = bpfBlock
	}
	rule := []bpfInstruction{{code: bpfIfNot, registers: bpfType, immediate: kind}}
	masked := func(mask Access) {
		rule = append(rule,
			bpfInstruction{code: unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X, registers: bpfAccess<<4 | bpfScratch},
			bpfInstruction{code: bpfAnd, registers: bpfScratch, immediate: int32(mask)})
	}
	switch {
	case d.allow: // any bit of it is refused
		masked(e.access)
		rule = append(rule, bpfInstruction{code: bpfIf, registers: bpfScratch})
	case e.access != allAccess: // every bit has to be allowed
		masked(allAccess &^ e.access)
		rule = append(rule, bpfInstruction{code: bpfIfNot, registers: bpfScratch})
	}
	if e.major != anyNumber {
		rule = append(rule, bpfInstruction{code: bpfIfNot, registers: bpfMajor, immediate: int32(e.major)})
	}
	if e.minor != anyNumber {
		rule = append(rule, bpfInstruction{code: bpfIfNot, registers: bpfMinor, immediate: int32(e.minor)})
	}
	rule = append(rule, verdict(!d.allow)...)
	for i := range rule {
		if code := rule[i].code; code == bpfIf || code == bpfIfNot {
			rule[i].offset = int16(len(rule) - i - 1) // to the next rule
		}
	}
	return rule
}

func verdict(allow bool) []bpfInstruction {
	value := int32(0)
	if allow {
		value = 1
	}
	return []bpfInstruction{{code: bpfSet, registers: bpfResult, immediate: value}, {code: unix.BPF_JMP | unix.BPF_EXIT}}
}

// programStep attaches the program to a group of version 2, in the place of one attached before.
func (d Devices) programStep(f folder) plan.Step {
	return plan.Step{
		Op: "bpf", Object: f.path,
		Args: []plan.Arg{
			plan.A("command", "BPF_PROG_ATTACH"), plan.A("type", "BPF_CGROUP_DEVICE"),
			plan.A("default", map[bool]string{true: "allow", false: "deny"}[d.allow]),
			plan.A("exceptions", fmt.Sprint(d.exceptions)),
		},
		Why: "version 2 has no files for devices: a program that the kernel runs decides on each open and mknod",
		Do:  func() error { return d.attach(f.path) },
	}
}

func (d Devices) attach(path string) error {
	program, err := loadDevices(programName, "Apache-2.0", d.program())
	if err != nil {
		return denied(fmt.Errorf("%sdevices: load program: %w", resources, err))
	}
	defer program.Close()
	dir, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return denied(err)
	}
	defer dir.Close()
	old, err := attached(dir)
	if err != nil {
		return err
	}
	defer func() {
		for _, p := range old {
			p.Close()
		}
	}()
	var replace *os.File
	if len(old) > 0 {
		replace = old[0]
	}
	if err := attachDevices(dir, program, replace); err != nil {
		return denied(fmt.Errorf("%sdevices: %w", resources, err))
	}
	if len(old) < 2 {
		return nil
	}
	for _, p := range old[1:] { // of an update that was cut short before Linux could replace
		err = errors.Join(err, detachDevices(dir, p))
	}
	return err
}

// attached are the programs of ours on a group.
func attached(dir *os.File) ([]*os.File, error) {
	ids, err := attachedDevices(dir)
	if err != nil {
		return nil, denied(err)
	}
	var ours []*os.File
	for _, id := range ids {
		p, name, err := programByID(id)
		switch {
		case errors.Is(err, os.ErrNotExist): // detached meanwhile
		case err != nil:
			return ours, denied(err)
		case name == programName:
			ours = append(ours, p)
		default:
			p.Close()
		}
	}
	return ours, nil
}
