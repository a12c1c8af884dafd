package stamps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"tandem/virtio/queue"
)

// probe is a program on a function of the kernel.
type probe struct {
	function string
	kind     ebpf.AttachType // fentry, fexit
	make     func(*program)
}

func (p probe) String() string {
	switch p.kind {
	case ebpf.AttachTraceFEntry:
		return "fentry of " + p.function
	case ebpf.AttachTraceFExit:
		return "fexit of " + p.function
	default:
		return "tracepoint " + p.function
	}
}

// functions attaches to vhost-net's own functions. What is missing beyond the worker's entry and exit, without which
// nothing can be told, is noted.
func (r *Recorder) functions() error {
	if err := r.layout.modules(r.types); err != nil {
		return err
	}
	const entry, exit = ebpf.AttachTraceFEntry, ebpf.AttachTraceFExit
	for i, name := range []string{"handle_rx", "handle_tx"} {
		// The exit first: an entry that nobody takes back would stay in the map.
		for _, p := range []probe{
			{name, exit, (*program).leave},
			{name, entry, func(p *program) { p.enter(p.r.layout.rings + int32(i)*p.r.layout.ringSize) }},
		} {
			if err := r.probe(p); err != nil {
				return err
			}
		}
	}
	call := "eventfd_signal"
	if kernel, err := r.types.Kernel(); err == nil && !has(kernel, call) {
		call = "eventfd_signal_mask" // since Linux 6.8 the other is inline
	}
	for _, stage := range []struct {
		queue.Stage
		probe
	}{
		{queue.KickSeen, probe{"handle_rx_kick", entry, (*program).kick}},
		{queue.KickSeen, probe{"handle_tx_kick", entry, (*program).kick}},
		{queue.FrameReceived, probe{"tun_recvmsg", exit, (*program).received}},
		{queue.FrameSent, probe{"tun_sendmsg", exit, (*program).sent}},
		{queue.UsedPublished, probe{"vhost_add_used_n", exit, (*program).used}},
		{queue.CallSent, probe{call, entry, (*program).call}},
	} {
		if err := r.probe(stage.probe); err != nil {
			r.miss(fmt.Sprintf("%v (%s)", stage.Stage, stage.function), err)
		}
	}
	if err := r.popped(); err != nil {
		r.miss(fmt.Sprintf("%v (%s)", queue.ChainPopped, popFunction), err)
	}
	why := errors.New("its own function in this kernel, and no stage of a queue's")
	if module, err := r.types.Module("vhost_net"); err == nil && !has(module, "vhost_net_build_xdp") {
		why = errors.New("no function of this kernel's: the compiler made it a part of its caller")
	}
	r.miss("frame copied into a batch (vhost_net_build_xdp)", why)
	return nil
}

// has tells whether there is a function that can be traced.
func has(types *btf.Spec, name string) bool {
	var f *btf.Func
	return types.TypeByName(name, &f) == nil
}

func (r *Recorder) probe(on probe) error {
	p := &program{r: r}
	on.make(p)
	const name = "stamps"
	// A collection of one, as these alone share the kernel's types: reading them takes a second each time.
	c, err := ebpf.NewCollectionWithOptions(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: {
		Name: name, Type: ebpf.Tracing, AttachType: on.kind, AttachTo: on.function, License: "GPL", Instructions: p.end(),
	}}}, ebpf.CollectionOptions{Cache: r.types})
	if err != nil {
		return fmt.Errorf("stamps: %s: load: %w", on, err)
	}
	defer c.Close() // the link keeps the program
	l, err := link.AttachTracing(link.TracingOptions{Program: c.Programs[name]})
	if err != nil {
		return fmt.Errorf("stamps: %s: attach: %w", on, err)
	}
	r.links = append(r.links, l)
	return nil
}

// argument loads a function's argument, or what follows them: its result.
func argument(to asm.Register, n int16) asm.Instruction {
	return asm.LoadMem(to, asm.R1, 8*n, asm.DWord)
}

// enter notes that the worker serves a ring. void handle_tx(struct vhost_net *net)
func (p *program) enter(ring int32) {
	p.add(argument(asm.R6, 0), asm.Add.Imm(asm.R6, ring))
	p.ownWorker()
	for at := int16(0); at < stateLen; at += 8 {
		p.zero(stackState + at)
	}
	p.add(asm.StoreMem(asm.RFP, stackState+stateRing, asm.R6, asm.DWord))
	p.key()
	p.add(
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackState),
		asm.Mov.Imm(asm.R4, 0), // BPF_ANY
		asm.FnMapUpdateElem.Call(),
	)
}

// leave forgets it.
func (p *program) leave() {
	p.key()
	p.add(asm.FnMapDeleteElem.Call())
}

// kick is told of the work that a kick is, the ring's poll.work: void handle_tx_kick(struct vhost_work *work)
func (p *program) kick() {
	l := &p.r.layout
	p.add(argument(asm.R6, 0), asm.Add.Imm(asm.R6, -l.pollWork))
	p.ownWorker()
	p.begin(queue.KickSeen)
	p.ring()
	// The driver's index is in the owner's memory, which is the worker's for now: struct vring_avail.idx. Should the
	// page not be there, the kernel's own copy will do.
	p.read(stackRecord+recordIndex, 2, asm.R6, l.availIdx)
	p.add(
		asm.LoadMem(asm.R3, asm.RFP, stackRecord+recordAvail, asm.DWord),
		asm.Add.Imm(asm.R3, 2),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, stackWord),
		asm.Mov.Imm(asm.R2, 2),
		asm.FnProbeReadUser.Call(),
		asm.JNE.Imm(asm.R0, 0, "waiting"),
		asm.LoadMem(asm.R1, asm.RFP, stackWord, asm.Half),
	)
	p.set(recordIndex, asm.R1, asm.Half)
	p.label("waiting")
	p.load(asm.R2, asm.Half, asm.R6, l.lastAvail)
	p.add(
		asm.LoadMem(asm.R1, asm.RFP, stackRecord+recordIndex, asm.Half),
		asm.Sub.Reg(asm.R1, asm.R2),
		asm.And.Imm(asm.R1, 0xffff), // indices wrap
	)
	p.set(recordLength, asm.R1, asm.DWord)
	p.write()
}

// received: int tun_recvmsg(struct socket *, struct msghdr *, size_t, int) gives the bytes of a frame with its header.
// The chains for it were popped before, and are the ring's heads from done_idx on.
func (p *program) received() {
	l := &p.r.layout
	p.add(argument(asm.R8, 4))
	p.state()
	p.add(asm.JSLT.Imm32(asm.R8, 1, out))
	p.begin(queue.FrameReceived)
	p.ring()
	p.add(asm.LSh.Imm(asm.R8, 32), asm.RSh.Imm(asm.R8, 32))
	p.set(recordLength, asm.R8, asm.DWord)
	p.load(asm.R7, asm.Word, asm.R6, l.doneIdx)
	p.load(asm.R8, asm.DWord, asm.R6, l.heads)
	p.add(asm.LSh.Imm(asm.R7, 3), asm.Add.Reg(asm.R8, asm.R7)) // struct vring_used_elem
	p.load(asm.R1, asm.Word, asm.R8, 0)
	p.set(recordHead, asm.R1, asm.Half)
	p.write()
}

const (
	tunMsgPtr  = 2  // TUN_MSG_PTR: a batch, linux/if_tun.h
	batch      = 64 // VHOST_NET_BATCH
	usedAtOnce = 256
)

// sent: int tun_sendmsg(struct socket *, struct msghdr *, size_t len). One frame comes as a message of that length; of a
// batch there is an array of struct xdp_buff, and its chains are the last of the ring's heads before done_idx.
func (p *program) sent() {
	l := &p.r.layout
	p.add(argument(asm.R7, 1), argument(asm.R8, 2), asm.LoadMem(asm.R6, asm.R1, 24, asm.DWord))
	p.add(asm.JSLT.Imm32(asm.R6, 0, out)) // it failed
	p.state()
	p.begin(queue.FrameSent)
	p.ring()
	p.load(asm.R7, asm.DWord, asm.R7, l.msgControl)
	p.add(asm.JEq.Imm(asm.R7, 0, "one"))
	p.load(asm.R1, asm.Half, asm.R7, l.msgType)
	p.add(asm.JEq.Imm(asm.R1, tunMsgPtr, "batch"))
	p.label("one")
	p.set(recordLength, asm.R8, asm.DWord)
	p.add(asm.LoadMem(asm.R1, asm.R9, stateHead, asm.DWord))
	p.set(recordHead, asm.R1, asm.Half)
	p.write()
	p.add(asm.Ja.Label(out))

	p.label("batch")
	p.zero(stackCount)
	p.read(stackCount, 2, asm.R7, l.msgNum)
	p.load(asm.R8, asm.DWord, asm.R7, l.msgPtr)
	p.load(asm.R7, asm.Word, asm.R6, l.doneIdx)
	p.load(asm.R9, asm.DWord, asm.R6, l.heads)
	p.add(
		asm.LoadMem(asm.R1, asm.RFP, stackCount, asm.Word),
		asm.Sub.Reg(asm.R7, asm.R1),
		asm.LSh.Imm(asm.R7, 3),
		asm.Add.Reg(asm.R9, asm.R7),
	)
	p.loop(batch, func() {
		p.load(asm.R1, asm.Word, asm.R9, 0)
		p.set(recordHead, asm.R1, asm.Half)
		p.load(asm.R1, asm.DWord, asm.R8, l.xdpData)
		p.set(recordLength, asm.R1, asm.DWord)
		p.load(asm.R1, asm.DWord, asm.R8, l.xdpEnd)
		p.add(
			asm.LoadMem(asm.R2, asm.RFP, stackRecord+recordLength, asm.DWord),
			asm.Sub.Reg(asm.R1, asm.R2),
		)
		p.set(recordLength, asm.R1, asm.DWord)
		p.load(asm.R1, asm.DWord, asm.R6, l.sockHeader) // which is not part of the buffer
		p.add(
			asm.LoadMem(asm.R2, asm.RFP, stackRecord+recordLength, asm.DWord),
			asm.Add.Reg(asm.R1, asm.R2),
		)
		p.set(recordLength, asm.R1, asm.DWord)
		p.write()
		p.add(asm.Add.Imm(asm.R8, l.xdpSize), asm.Add.Imm(asm.R9, 8))
	})
}

// used: int vhost_add_used_n(struct vhost_virtqueue *, struct vring_used_elem *heads, unsigned count)
func (p *program) used() {
	l := &p.r.layout
	p.add(
		argument(asm.R8, 1), argument(asm.R7, 2), argument(asm.R6, 3),
		asm.JNE.Imm32(asm.R6, 0, out), // it failed
		asm.StoreMem(asm.RFP, stackCount, asm.R7, asm.DWord),
	)
	p.state()
	p.begin(queue.UsedPublished)
	p.ring()
	p.load(asm.R9, asm.Half, asm.R6, l.lastUsed)
	p.add(asm.LoadMem(asm.R1, asm.RFP, stackCount, asm.Word), asm.Sub.Reg(asm.R9, asm.R1))
	p.loop(usedAtOnce, func() {
		p.set(recordIndex, asm.R9, asm.Half)
		p.load(asm.R1, asm.Word, asm.R8, 0) // struct vring_used_elem.id
		p.set(recordHead, asm.R1, asm.Half)
		p.load(asm.R1, asm.Word, asm.R8, 4) // len
		p.set(recordLength, asm.R1, asm.DWord)
		p.write()
		p.add(asm.Add.Imm(asm.R8, 8), asm.Add.Imm(asm.R9, 1))
	})
}

// call: eventfd_signal(struct eventfd_ctx *, ...), of the ring's call among all that the worker may signal.
func (p *program) call() {
	l := &p.r.layout
	p.add(argument(asm.R7, 0))
	p.state()
	p.load(asm.R1, asm.DWord, asm.R6, l.callCtx)
	p.add(asm.JNE.Reg(asm.R1, asm.R7, out))
	p.begin(queue.CallSent)
	p.ring()
	p.read(stackRecord+recordIndex, 2, asm.R6, l.lastUsed)
	p.write()
}
