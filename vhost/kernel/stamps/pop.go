package stamps

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"tandem/virtio/queue"
)

// popFunction takes a chain from the available ring:
//
//	int vhost_get_vq_desc(struct vhost_virtqueue *, struct iovec iov[], unsigned iov_size, unsigned *out_num,
//		unsigned *in_num, struct vhost_log *, unsigned *log_num)
//
// It returns the head, the ring's size if there is none, or an error.
const popFunction = "vhost_get_vq_desc"

// Where x86 has a function's arguments, in struct pt_regs: arch/x86/include/asm/ptrace.h.
const (
	regsIov    = 104 // rsi
	regsOut    = 88  // rcx
	regsIn     = 72  // r8
	regsResult = 80  // rax
)

// popped attaches a kprobe, which notes where the function will put the chain, and a kretprobe, which looks there.
func (r *Recorder) popped() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("stamps: kprobe of %s: %w: registers of %s", popFunction, errors.ErrUnsupported, runtime.GOARCH)
	}
	for _, on := range []struct {
		make   func(*program)
		attach func(string, *ebpf.Program, *link.KprobeOptions) (link.Link, error)
	}{
		{(*program).pop, link.Kprobe},
		{(*program).popDone, link.Kretprobe},
	} {
		p := &program{r: r}
		on.make(p)
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "stamps", Type: ebpf.Kprobe, License: "GPL", Instructions: p.end()})
		if err != nil {
			return fmt.Errorf("stamps: kprobe of %s: load: %w", popFunction, err)
		}
		l, err := on.attach(popFunction, prog, nil)
		if err != nil {
			prog.Close()
			return fmt.Errorf("stamps: kprobe of %s: attach: %w", popFunction, err)
		}
		r.links = append(r.links, l)
		prog.Close()
	}
	return nil
}

func (p *program) pop() {
	p.add(asm.Mov.Reg(asm.R8, asm.R1))
	p.state()
	for _, a := range []struct{ from, to int16 }{{regsIov, stateIov}, {regsOut, stateOut}, {regsIn, stateIn}} {
		p.add(
			asm.LoadMem(asm.R1, asm.R8, a.from, asm.DWord),
			asm.StoreMem(asm.R9, a.to, asm.R1, asm.DWord),
		)
	}
}

// longest is how many parts of a chain are summed up: a program cannot go on for as long as it likes.
const longest = 128

func (p *program) popDone() {
	l := &p.r.layout
	p.add(asm.LoadMem(asm.R8, asm.R1, regsResult, asm.DWord))
	p.state()
	p.load(asm.R1, asm.Word, asm.R6, l.num)
	p.add(
		asm.LSh.Imm(asm.R8, 32), asm.RSh.Imm(asm.R8, 32), // an int; errors become large
		asm.JGE.Reg(asm.R8, asm.R1, out),
		asm.StoreMem(asm.R9, stateHead, asm.R8, asm.DWord),
	)
	p.begin(queue.ChainPopped)
	p.ring()
	p.set(recordHead, asm.R8, asm.Half)
	p.load(asm.R1, asm.Half, asm.R6, l.lastAvail) // the next
	p.add(asm.Sub.Imm(asm.R1, 1))
	p.set(recordIndex, asm.R1, asm.Half)

	p.add(asm.LoadMem(asm.R1, asm.R9, stateOut, asm.DWord))
	p.load(asm.R8, asm.Word, asm.R1, 0)
	p.add(asm.LoadMem(asm.R1, asm.R9, stateIn, asm.DWord))
	p.load(asm.R1, asm.Word, asm.R1, 0)
	p.add(
		asm.Add.Reg(asm.R8, asm.R1),
		asm.StoreMem(asm.RFP, stackCount, asm.R8, asm.DWord),
		asm.LoadMem(asm.R8, asm.R9, stateIov, asm.DWord),
		asm.Mov.Imm(asm.R9, 0), // the sum
	)
	p.loop(longest, func() {
		p.load(asm.R1, asm.DWord, asm.R8, 8) // struct iovec.iov_len
		p.add(asm.Add.Reg(asm.R9, asm.R1), asm.Add.Imm(asm.R8, 16))
	})
	p.set(recordLength, asm.R9, asm.DWord)
	p.write()
}
