package main

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// tracepoints counts how often this process passes some of the kernel's tracepoints.
type tracepoints struct {
	counts *ebpf.Map
	names  []string
	links  []link.Link
}

// openTracepoints needs CAP_BPF and CAP_PERFMON.
func openTracepoints(names ...string) (t *tracepoints, err error) {
	t = &tracepoints{names: names}
	defer func() {
		if err != nil {
			t.close()
			t = nil
		}
	}()
	t.counts, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "kicks", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(len(names)),
	})
	if err != nil {
		return t, err
	}
	for i, name := range names {
		if err := t.attach(i, name); err != nil {
			return t, fmt.Errorf("%s: %w", name, err)
		}
	}
	return t, nil
}

// attach has a program run whenever the tracepoint is passed: it looks whose process that is, and counts.
func (t *tracepoints) attach(i int, name string) error {
	var ns unix.Stat_t // of the PID namespace, so that numbers are those of this process's own
	if err := unix.Stat("/proc/self/ns/pid", &ns); err != nil {
		return err
	}
	var program asm.Instructions
	if name == "kvm_userspace_exit" {
		// Its second argument is 0, or the error of a run that a signal ended: that is no exit of the guest's.
		program = append(program,
			asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord),
			asm.JNE.Imm32(asm.R6, 0, "out"),
		)
	}
	const info = -8 // struct bpf_pidns_info: pid and tgid, on the stack
	program = append(program,
		asm.LoadImm(asm.R1, int64(ns.Dev), asm.DWord),
		asm.LoadImm(asm.R2, int64(ns.Ino), asm.DWord),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, info),
		asm.Mov.Imm(asm.R4, 8),
		asm.FnGetNsCurrentPidTgid.Call(),
		asm.JNE.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R6, asm.RFP, info+4, asm.Word),
		asm.JNE.Imm32(asm.R6, int32(unix.Getpid()), "out"),

		asm.StoreImm(asm.RFP, info, int64(i), asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, info),
		asm.LoadMapPtr(asm.R1, t.counts.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "kicks", Type: ebpf.RawTracepoint, License: "GPL", Instructions: program,
	})
	if err != nil {
		return err
	}
	defer p.Close() // the link keeps it
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: p})
	if err != nil {
		return err
	}
	t.links = append(t.links, l)
	return nil
}

// read gives the counts so far, of none without tracepoints.
func (t *tracepoints) read() ([]uint64, error) {
	if t == nil {
		return nil, nil
	}
	counts := make([]uint64, len(t.names))
	for i := range counts {
		if err := t.counts.Lookup(uint32(i), &counts[i]); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

func (t *tracepoints) close() {
	for _, l := range t.links {
		l.Close()
	}
	if t.counts != nil {
		t.counts.Close()
	}
}
