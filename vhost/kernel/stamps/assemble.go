package stamps

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"tandem/virtio/queue"
)

// Each program's stack, from the frame pointer down. Registers R6 to R9 survive the calls of helpers; all else is here.
const (
	stackRecord = -recordLen
	stackWord   = stackRecord - 8 // what was just read
	stackCount  = stackWord - 8   // of a loop
	stackKey    = stackCount - 8  // a map's
	stackState  = stackKey - stateLen
)

// What is kept for a worker while it serves a ring: an entry of the map of workers.
const (
	stateRing = 0  // struct vhost_virtqueue
	stateIov  = 8  // vhost_get_vq_desc's arguments: where it puts the chain's parts
	stateOut  = 16 // and how many are to be read
	stateIn   = 24 // and written
	stateHead = 32 // that it returned last
	stateLen  = 40
)

// out is where every program ends.
const out = "out"

// program is instructions in the making.
type program struct {
	r     *Recorder
	list  asm.Instructions
	next  string // a label for the instruction that comes
	loops int
}

func (p *program) add(list ...asm.Instruction) {
	for _, i := range list {
		if p.next != "" {
			i, p.next = i.WithSymbol(p.next), ""
		}
		p.list = append(p.list, i)
	}
}

// label names the next instruction.
func (p *program) label(name string) { p.next = name }

// end is the program's last word.
func (p *program) end() asm.Instructions {
	p.label(out)
	p.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return p.list
}

// zero clears eight bytes of the stack.
func (p *program) zero(at int16) {
	p.add(asm.StoreImm(asm.RFP, at, 0, asm.Word), asm.StoreImm(asm.RFP, at+4, 0, asm.Word))
}

// read copies kernel memory to the stack. What cannot be read is nought.
func (p *program) read(to int16, size int32, base asm.Register, offset int32) {
	p.add(
		asm.Mov.Reg(asm.R3, base), // before the others: it may be one of them
		asm.Add.Imm(asm.R3, offset),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(to)),
		asm.Mov.Imm(asm.R2, size),
		asm.FnProbeReadKernel.Call(),
	)
}

// load reads kernel memory into a register.
func (p *program) load(to asm.Register, size asm.Size, base asm.Register, offset int32) {
	p.zero(stackWord)
	p.read(stackWord, int32(size.Sizeof()), base, offset)
	p.add(asm.LoadMem(to, asm.RFP, stackWord, size))
}

// owned goes on only if the task in the register uses the owner's memory, as a vhost worker does and as the owner's
// own threads do. mm->owner is that process's first thread.
func (p *program) owned(task asm.Register) {
	l := &p.r.layout
	p.load(asm.R1, asm.DWord, task, l.taskMM)
	p.add(asm.JEq.Imm(asm.R1, 0, out)) // a thread of the kernel that has none
	p.load(asm.R1, asm.DWord, asm.R1, l.mmOwner)
	p.load(asm.R1, asm.Word, asm.R1, l.taskTgid)
	p.add(asm.JNE.Imm32(asm.R1, int32(p.r.owner), out))
}

func (p *program) ownWorker() {
	p.add(asm.FnGetCurrentTask.Call(), asm.Mov.Reg(asm.R9, asm.R0))
	p.owned(asm.R9)
}

// key puts the current thread's number where a map's key is looked for, which R2 then points to, and the map in R1.
func (p *program) key() {
	p.add(
		asm.FnGetCurrentPidTgid.Call(),
		asm.StoreMem(asm.RFP, stackKey, asm.R0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.LoadMapPtr(asm.R1, p.r.workers.FD()),
	)
}

// state has R9 point to what is kept for this worker, and R6 to the ring that it serves. A thread that serves none ends
// the program.
func (p *program) state() {
	p.key()
	p.add(
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, out),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.LoadMem(asm.R6, asm.R9, stateRing, asm.DWord),
	)
}

// begin makes a record of the ring in R6, with the time as it is. Head, index and length are nought.
func (p *program) begin(stage queue.Stage) {
	for at := int16(0); at < recordLen; at += 8 {
		p.zero(stackRecord + at)
	}
	p.add(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, stackRecord+recordTime, asm.R0, asm.DWord),
		asm.FnGetCurrentPidTgid.Call(),
		asm.StoreMem(asm.RFP, stackRecord+recordWorker, asm.R0, asm.Word),
		asm.StoreImm(asm.RFP, stackRecord+recordStage, int64(stage), asm.Half),
	)
}

func (p *program) ring() {
	p.add(asm.StoreMem(asm.RFP, stackRecord+recordRing, asm.R6, asm.DWord))
	p.read(stackRecord+recordAvail, 8, asm.R6, p.r.layout.avail)
}

func (p *program) set(field int16, from asm.Register, size asm.Size) {
	p.add(asm.StoreMem(asm.RFP, stackRecord+field, from, size))
}

// write puts the record in the ring buffer, or counts it as lost.
func (p *program) write() {
	p.loops++
	written := fmt.Sprintf("written%d", p.loops)
	p.add(
		asm.LoadMapPtr(asm.R1, p.r.events.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackRecord),
		asm.Mov.Imm(asm.R3, recordLen),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, written),
		asm.StoreImm(asm.RFP, stackKey, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, p.r.lost.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, written),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	)
	p.label(written)
	p.add(asm.Mov.Imm(asm.R0, 0))
}

// loop does the body as often as the word at stackCount says, but no more than most times, with R7 counting from 0.
// The body may use R8 and R9 for what goes on from one time to the next.
func (p *program) loop(most int32, body func()) {
	p.loops++
	again, done := fmt.Sprintf("again%d", p.loops), fmt.Sprintf("done%d", p.loops)
	p.add(asm.Mov.Imm(asm.R7, 0))
	p.label(again)
	p.add(
		asm.JGE.Imm(asm.R7, most, done),
		asm.LoadMem(asm.R1, asm.RFP, stackCount, asm.Word),
		asm.JGE.Reg(asm.R7, asm.R1, done),
	)
	body()
	p.add(asm.Add.Imm(asm.R7, 1), asm.Ja.Label(again))
	p.label(done)
	p.add(asm.Mov.Imm(asm.R0, 0))
}
