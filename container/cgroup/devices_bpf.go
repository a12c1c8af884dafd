package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
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

// Program is the same verdict as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, which the kernel runs with each
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
func (d Devices) Program() asm.Instructions {
	program := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, ctxAccessType, asm.Word),
		asm.Mov.Reg32(asm.R3, asm.R2),
		asm.RSh.Imm32(asm.R3, 16),
		asm.And.Imm32(asm.R2, 0xffff),
		asm.LoadMem(asm.R4, asm.R1, ctxMajor, asm.Word),
		asm.LoadMem(asm.R5, asm.R1, ctxMinor, asm.Word),
	}
	label := func(i int) string {
		if i == len(d.exceptions) {
			return "default"
		}
		return "rule-" + strconv.Itoa(i)
	}
	for i, e := range d.exceptions {
		rule := d.compile(e, label(i+1))
		rule[0] = rule[0].WithSymbol(label(i))
		program = append(program, rule...)
	}
	end := verdict(d.allow)
	if len(d.exceptions) > 0 { // who jumps there
		end[0] = end[0].WithSymbol(label(len(d.exceptions)))
	}
	return append(program, end...)
}

func (d Devices) compile(e exception, next string) asm.Instructions {
	kind := int32(bpfChar)
	if e.kind == BlockDevice {
		kind = bpfBlock
	}
	rule := asm.Instructions{asm.JNE.Imm(asm.R2, kind, next)}
	switch {
	case d.allow: // any bit of it is refused
		rule = append(rule,
			asm.Mov.Reg32(asm.R1, asm.R3), asm.And.Imm32(asm.R1, int32(e.access)), asm.JEq.Imm(asm.R1, 0, next))
	case e.access != allAccess: // every bit has to be allowed
		rule = append(rule,
			asm.Mov.Reg32(asm.R1, asm.R3), asm.And.Imm32(asm.R1, int32(allAccess&^e.access)), asm.JNE.Imm(asm.R1, 0, next))
	}
	if e.major != anyNumber {
		rule = append(rule, asm.JNE.Imm(asm.R4, int32(e.major), next))
	}
	if e.minor != anyNumber {
		rule = append(rule, asm.JNE.Imm(asm.R5, int32(e.minor), next))
	}
	return append(rule, verdict(!d.allow)...)
}

func verdict(allow bool) asm.Instructions {
	value := int32(0)
	if allow {
		value = 1
	}
	return asm.Instructions{asm.Mov.Imm32(asm.R0, value), asm.Return()}
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
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: programName, Type: ebpf.CGroupDevice, AttachType: ebpf.AttachCGroupDevice,
		Instructions: d.Program(), License: "Apache-2.0",
	})
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
	options := link.RawAttachProgramOptions{
		Target: int(dir.Fd()), Program: program, Attach: ebpf.AttachCGroupDevice,
		// Others may attach programs too, here and below. All that are attached have to allow an access.
		Flags: unix.BPF_F_ALLOW_MULTI,
	}
	if len(old) > 0 {
		options.Anchor = link.ReplaceProgram(old[0]) // at no time is there none
	}
	if err := link.RawAttachProgram(options); err != nil {
		return denied(fmt.Errorf("%sdevices: %w", resources, err))
	}
	if len(old) < 2 {
		return nil
	}
	for _, p := range old[1:] { // of an update that was cut short before Linux could replace
		err = errors.Join(err, link.RawDetachProgram(link.RawDetachProgramOptions{
			Target: int(dir.Fd()), Program: p, Attach: ebpf.AttachCGroupDevice,
		}))
	}
	return err
}

// attached are the programs of ours on a group.
func attached(dir *os.File) ([]*ebpf.Program, error) {
	result, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return nil, denied(err)
	}
	var ours []*ebpf.Program
	for _, a := range result.Programs {
		p, err := ebpf.NewProgramFromID(a.ID)
		if errors.Is(err, os.ErrNotExist) {
			continue // detached meanwhile
		}
		if err != nil {
			return ours, denied(err)
		}
		info, err := p.Info()
		if err == nil && info.Name == programName {
			ours = append(ours, p)
			continue
		}
		p.Close()
	}
	return ours, nil
}
