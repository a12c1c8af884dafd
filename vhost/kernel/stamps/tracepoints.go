package stamps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"tandem/virtio/queue"
)

// comm is how the name of a worker begins: vhost-PID.
const (
	comm     = int64('v') | 'h'<<8 | 'o'<<16 | 's'<<24 | 't'<<32 | '-'<<40
	commMask = int64(1)<<48 - 1
)

// etherLen is ETH_HLEN: netif_receive_skb sees a frame without.
const etherLen = 14

// tracepoints attaches to what everybody may see: workers, and the tap's link.
func (r *Recorder) tracepoints(why error) error {
	r.missing = nil
	for _, p := range []probe{
		{"sched_wakeup", ebpf.AttachTraceRawTp, (*program).woken},
		{"netif_receive_skb", ebpf.AttachTraceRawTp, (*program).linkReceives},
		{"skb_copy_datagram_iovec", ebpf.AttachTraceRawTp, (*program).linkSends},
	} {
		if err := r.probe(p); err != nil {
			return err
		}
	}
	for _, stage := range []queue.Stage{queue.KickSeen, queue.ChainPopped, queue.UsedPublished, queue.CallSent} {
		reason := why
		if stage == queue.KickSeen {
			reason = fmt.Errorf("%w (the worker's waking is seen: for a kick, or for a frame)", why)
		}
		r.miss(stage.String(), reason)
	}
	r.miss("head, index and queue pair of a frame", errors.New("tracepoints see the tap, and no ring"))
	return nil
}

// worker goes on only if the task in the register is a worker of the owner's.
func (p *program) worker(task asm.Register) {
	p.load(asm.R1, asm.DWord, task, p.r.layout.taskComm)
	p.add(
		asm.LoadImm(asm.R2, commMask, asm.DWord),
		asm.And.Reg(asm.R1, asm.R2),
		asm.LoadImm(asm.R2, comm, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, out),
	)
	p.owned(task)
}

// woken: sched_wakeup(struct task_struct *)
func (p *program) woken() {
	p.add(argument(asm.R6, 0))
	p.worker(asm.R6)
	p.begin(queue.WorkerWoken)
	p.load(asm.R1, asm.Word, asm.R6, p.r.layout.taskPid)
	p.set(recordWorker, asm.R1, asm.Word)
	p.write()
}

// onLink goes on only if the buffer in R6 is of the tap's link, in a worker.
func (p *program) onLink() {
	l := &p.r.layout
	p.add(asm.FnGetCurrentTask.Call(), asm.Mov.Reg(asm.R9, asm.R0))
	p.worker(asm.R9)
	p.load(asm.R1, asm.DWord, asm.R6, l.skbDev)
	p.load(asm.R1, asm.Word, asm.R1, l.devIfindex)
	p.add(asm.JNE.Imm32(asm.R1, int32(p.r.spec.Ifindex), out))
}

// linkReceives: netif_receive_skb(struct sk_buff *), what the guest sent.
func (p *program) linkReceives() {
	p.add(argument(asm.R6, 0))
	p.onLink()
	p.begin(queue.FrameSent)
	p.load(asm.R1, asm.Word, asm.R6, p.r.layout.skbLen)
	p.add(asm.Add.Imm(asm.R1, etherLen))
	p.set(recordLength, asm.R1, asm.DWord)
	p.write()
}

// linkSends: skb_copy_datagram_iovec(const struct sk_buff *, int len), a frame on its way to the guest.
func (p *program) linkSends() {
	p.add(argument(asm.R6, 0), argument(asm.R8, 1))
	p.onLink()
	p.begin(queue.FrameReceived)
	p.add(asm.LSh.Imm(asm.R8, 32), asm.RSh.Imm(asm.R8, 32))
	p.set(recordLength, asm.R8, asm.DWord)
	p.write()
}
