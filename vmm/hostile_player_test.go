package vmm

import (
	"encoding/binary"
	"testing"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
	"tandem/vmm/layout"
)

// A player is a guest that does what a table says: a hostile driver is then a list of writes, put together here, and
// played in there, through KVM and the machine's buses.
//
// It keeps the guest's memory too: what a driver lays out there before it touches a register, the test lays out before
// the machine starts.
type player struct {
	*virtiotest.Guest
	vm     *VM
	steps  []step
	checks []func()
	title  string // of what is being put together
	titles []string
}

// step is an entry of the table.
type step struct{ op, addr, value, arg uint32 }

// What a step does.
const (
	opEnd     = iota // power off
	opWrite8         // [addr] = value
	opWrite16        //
	opWrite32        //
	opRead8          // value = [addr]
	opRead16         //
	opRead32         //
	opUntil8         // until [addr] & arg == value; then value = [addr]
	opUntil32        //
	opStorm16        // [addr] = value, arg times
	opStorm32        //
	numOps
)

// Where the player has what it needs. Below are its code and, for other guests, their rings.
const (
	playerRAM    = virtiotest.LowSize // the hole begins where the breakages of virtiotest say that it does
	playerJumps  = 0x7000             // an address for each op
	playerStuck  = 0x7800             // the address of a step whose condition never came
	playerTable  = 0x10000
	playerMemory = 0x200000 // for rings and buffers
	stepSize     = 16

	// playerPatience is how often a condition is looked at. Each look is an exit, which takes some microseconds
	// anywhere, and lets others run where there is one processor: seconds in all.
	playerPatience = 1 << 19
)

// playerCode is the guest, and where in it each op is. ESI points to the step; EAX, EBX, ECX, EDX are its fields.
func playerCode() (code *asm, ops [numOps]uint32) {
	g := protected32()
	g.emit(0xBE).imm(playerTable) // mov esi, table
	loop := g.Len()
	g.emit(0x8B, 0x06, 0x8B, 0x5E, 4, 0x8B, 0x4E, 8, 0x8B, 0x56, 12) // mov eax, [esi]; ebx, [esi+4]; ecx, [esi+8]; edx, [esi+12]
	g.emit(0xFF, 0x24, 0x85).imm(playerJumps)                        // jmp [eax*4+jumps]
	store := g.Len()
	g.emit(0x89, 0x46, 8) // mov [esi+8], eax
	next := g.Len()
	g.emit(0x83, 0xC6, stepSize).jmp(loop) // add esi, 16
	far := func(to int, jump ...byte) *asm { g.emit(jump...); return g.imm(uint32(to - g.Len() - 4)) }
	jmp := func(to int) { far(to, 0xE9) }
	until := func(load ...byte) {
		g.emit(0xBF).imm(playerPatience) // mov edi, patience
		again := g.Len()
		g.emit(0xE4, layout.POST).emit(load...)        // in al, POST
		g.emit(0x89, 0xC5, 0x21, 0xD5, 0x39, 0xCD)     // mov ebp, eax; and ebp, edx; cmp ebp, ecx
		far(store, 0x0F, 0x84)                         // je store
		g.emit(0x4F).jnz(again)                        // dec edi
		g.emit(0x89, 0x35).imm(playerStuck).powerOff() // mov [stuck], esi
	}
	storm := func(write ...byte) {
		again := g.Len()
		g.emit(write...).emit(0x4A).jnz(again) // dec edx
		jmp(next)
	}
	for op, emit := range [numOps]func(){
		opEnd:     func() { g.powerOff() },
		opWrite8:  func() { g.emit(0x88, 0x0B); jmp(next) },                    // mov [ebx], cl
		opWrite16: func() { g.emit(0x66, 0x89, 0x0B); jmp(next) },              // mov [ebx], cx
		opWrite32: func() { g.emit(0x89, 0x0B); jmp(next) },                    // mov [ebx], ecx
		opRead8:   func() { g.emit(0x31, 0xC0, 0x8A, 0x03); jmp(store) },       // xor eax, eax; mov al, [ebx]
		opRead16:  func() { g.emit(0x31, 0xC0, 0x66, 0x8B, 0x03); jmp(store) }, // xor eax, eax; mov ax, [ebx]
		opRead32:  func() { g.emit(0x8B, 0x03); jmp(store) },                   // mov eax, [ebx]
		opUntil8:  func() { until(0x31, 0xC0, 0x8A, 0x03) },
		opUntil32: func() { until(0x8B, 0x03) },
		opStorm16: func() { storm(0x66, 0x89, 0x0B) },
		opStorm32: func() { storm(0x89, 0x0B) },
	} {
		ops[op] = codeGPA + uint32(g.Len())
		emit()
	}
	return g, ops
}

// newPlayer makes a machine with the devices, to be played in.
func newPlayer(t *testing.T, devices []Device, report func(device string, err error), shared bool) *player {
	t.Helper()
	code, ops := playerCode()
	spec := code.spec()
	spec.Memory = playerRAM
	spec.CPUs = 2 // the second waits to be woken, mostly for ever
	spec.Devices = devices
	spec.Report = report
	spec.SharedMemory = shared
	vm := newVM(t, spec)
	var jumps []byte
	for _, at := range ops {
		jumps = binary.LittleEndian.AppendUint32(jumps, at)
	}
	poke(t, vm, playerJumps, jumps)
	p := &player{Guest: &virtiotest.Guest{TB: t, Mem: vm.Memory()}, vm: vm}
	p.ReuseFrom(playerMemory)
	return p
}

func (p *player) add(op, addr, value, arg uint32) (at int) {
	p.steps = append(p.steps, step{op, addr, value, arg})
	p.titles = append(p.titles, p.title)
	return len(p.steps) - 1
}

func (p *player) write8(addr uint32, v uint8)   { p.add(opWrite8, addr, uint32(v), 0) }
func (p *player) write16(addr uint32, v uint16) { p.add(opWrite16, addr, uint32(v), 0) }
func (p *player) write32(addr, v uint32)        { p.add(opWrite32, addr, v, 0) }

// until waits for a word's bits, masked, to be as wanted.
func (p *player) until(addr, mask, want uint32) { p.add(opUntil32, addr, want, mask) }

// same reads a register now, and again when later is called, and holds that it is the same.
func (p *player) same(what string, op, addr uint32) (later func()) {
	before := p.add(op, addr, 0, 0)
	return func() {
		title, after := p.title, p.add(op, addr, 0, 0)
		p.check(func() {
			if b, a := p.steps[before].value, p.steps[after].value; a != b {
				p.Errorf("%s: %s was %#x, is %#x", title, what, b, a)
			}
		})
	}
}

// wants holds that a register has a value.
func (p *player) wants(what string, op, addr, mask, want uint32) {
	title, at := p.title, p.add(op, addr, 0, 0)
	p.check(func() {
		if got := p.steps[at].value & mask; got != want {
			p.Errorf("%s: %s is %#x, want %#x", title, what, got, want)
		}
	})
}

// check is called when all was played.
func (p *player) check(f func()) { p.checks = append(p.checks, f) }

// play runs the guest, and then the checks.
func (p *player) play() {
	p.Helper()
	p.add(opEnd, 0, 0, 0)
	if end := playerTable + stepSize*len(p.steps); end > playerMemory {
		p.Fatalf("a table of %d steps ends at %#x", len(p.steps), end)
	}
	table := p.Bytes(playerTable, stepSize*uint64(len(p.steps)))
	for i, s := range p.steps {
		for j, v := range [4]uint32{s.op, s.addr, s.value, s.arg} {
			binary.LittleEndian.PutUint32(table[stepSize*i+4*j:], v)
		}
	}
	if err := p.vm.Start(); err != nil {
		p.Fatal(err)
	}
	o, err := p.vm.Wait(testContext(p.TB.(*testing.T)))
	if err != nil || o.Ending != PowerOff {
		p.Fatalf("outcome = %v, %v", o, err)
	}
	for i := range p.steps {
		p.steps[i].value = binary.LittleEndian.Uint32(table[stepSize*i+8:])
	}
	if stuck := binary.LittleEndian.Uint32(p.Bytes(playerStuck, 4)); stuck != 0 {
		i := (stuck - playerTable) / stepSize
		s := p.steps[i]
		p.Fatalf("%s: step %d of %d: [%#x] & %#x never became %#x", p.titles[i], i, len(p.steps), s.addr, s.arg, s.value)
	}
	for _, f := range p.checks {
		f()
	}
}

// A plug is a device's transport as the player reaches it.
type plug interface {
	// prepare is what comes once, before all else.
	prepare(p *player)
	status(p *player, v uint8)
	// untilStatus waits for those bits of the mask.
	untilStatus(p *player, mask, want uint8)
	features(p *player, f uint64)
	queue(p *player, i int, size uint16, desc, avail, used uint64)
	enable(p *player, i int)
	// notify kicks a queue n times.
	notify(p *player, i int, n int)
	// config is where the device's configuration space is.
	config() uint32
}

// mmioPlug is a window of registers: virtio 1.2, section 4.2.2.
type mmioPlug struct{ base uint32 }

func (m mmioPlug) prepare(*player)           {}
func (m mmioPlug) status(p *player, v uint8) { p.write32(m.base+mmioStatus, uint32(v)) }
func (m mmioPlug) config() uint32            { return m.base + 0x100 }
func (m mmioPlug) untilStatus(p *player, mask, want uint8) {
	p.until(m.base+mmioStatus, uint32(mask), uint32(want))
}

func (m mmioPlug) features(p *player, f uint64) {
	for word := range uint32(2) {
		p.write32(m.base+mmioDriverSel, word)
		p.write32(m.base+mmioDriver, uint32(f>>(32*word)))
	}
}

func (m mmioPlug) queue(p *player, i int, size uint16, desc, avail, used uint64) {
	p.write32(m.base+mmioQueueSel, uint32(i))
	p.write32(m.base+mmioQueueNum, uint32(size))
	for j, addr := range []uint64{desc, avail, used} {
		at := m.base + [...]uint32{mmioDesc, mmioAvail, mmioUsed}[j]
		p.write32(at, uint32(addr))
		p.write32(at+4, uint32(addr>>32))
	}
}

func (m mmioPlug) enable(p *player, i int) {
	p.write32(m.base+mmioQueueSel, uint32(i))
	p.write32(m.base+mmioQueueReady, 1)
}

func (m mmioPlug) notify(p *player, i, n int) {
	p.add(opStorm32, m.base+mmioQueueNotify, uint32(i), uint32(n))
}

// pciPlug is a function whose BAR is where the machine put it: virtio 1.2, section 4.1.4.
type pciPlug struct {
	bar       uint32
	header    uint32 // configuration space, in the ECAM
	notifyAt  uint32
	notifyMul uint32
	common    uint32
	device    uint32
}

// newPCIPlug finds the structures of a function by its capabilities.
func newPCIPlug(p *player, number int) *pciPlug {
	space := p.vm.pci.ECAM()
	read := func(off uint64, n int) uint32 {
		var b [4]byte
		space.Read(uint64(number)<<15+off, b[:n])
		return binary.LittleEndian.Uint32(b[:])
	}
	f := &pciPlug{bar: read(0x10, 4) &^ 0xF, header: layout.ECAM + uint32(number)<<15}
	for at := uint64(read(0x34, 1)); at != 0; at = uint64(read(at+1, 1)) {
		if read(at, 1) != 0x09 { // PCI_CAP_ID_VNDR
			continue
		}
		switch where := f.bar + read(at+8, 4); read(at+3, 1) {
		case 1: // VIRTIO_PCI_CAP_COMMON_CFG
			f.common = where
		case 2: // VIRTIO_PCI_CAP_NOTIFY_CFG
			f.notifyAt, f.notifyMul = where, read(at+16, 4)
		case 4: // VIRTIO_PCI_CAP_DEVICE_CFG
			f.device = where
		}
	}
	return f
}

func (f *pciPlug) prepare(p *player)         { p.write16(f.header+4, 6) } // memory, bus master
func (f *pciPlug) status(p *player, v uint8) { p.write8(f.common+20, v) }
func (f *pciPlug) config() uint32            { return f.device }
func (f *pciPlug) untilStatus(p *player, mask, want uint8) {
	p.add(opUntil8, f.common+20, uint32(want), uint32(mask))
}

func (f *pciPlug) features(p *player, features uint64) {
	for word := range uint32(2) {
		p.write32(f.common+8, word)
		p.write32(f.common+12, uint32(features>>(32*word)))
	}
}

func (f *pciPlug) queue(p *player, i int, size uint16, desc, avail, used uint64) {
	p.write16(f.common+22, uint16(i))
	p.write16(f.common+24, size)
	for j, addr := range []uint64{desc, avail, used} {
		p.write32(f.common+32+8*uint32(j), uint32(addr))
		p.write32(f.common+36+8*uint32(j), uint32(addr>>32))
	}
}

func (f *pciPlug) enable(p *player, i int) {
	p.write16(f.common+22, uint16(i))
	p.write16(f.common+28, 1)
}

func (f *pciPlug) notify(p *player, i, n int) {
	p.add(opStorm16, f.notifyAt+uint32(i)*f.notifyMul, uint32(i), uint32(n))
}

// The status that a driver goes through. virtio 1.2, section 3.1.1.
const (
	statusFound      = virtio.StatusAcknowledge | virtio.StatusDriver
	statusAgreed     = statusFound | virtio.StatusFeaturesOK
	statusDriverOK   = statusAgreed | virtio.StatusDriverOK
	statusNeedsReset = virtio.StatusNeedsReset
)

// reset resets a device and waits for it.
func (p *player) reset(d plug) {
	d.status(p, 0)
	d.untilStatus(p, 0xFF, 0)
}

// negotiate takes a device from its reset to FEATURES_OK.
func (p *player) negotiate(d plug, features uint64) {
	p.reset(d)
	d.status(p, statusFound)
	d.features(p, features|1<<virtio.FeatureVersion1)
	d.status(p, statusAgreed)
	d.untilStatus(p, 0xFF, statusAgreed)
}

// ring lays out a queue in memory and gives it to the device.
func (p *player) ring(d plug, i int, size uint16) *virtiotest.Ring {
	r := virtiotest.NewRing(p.Mem, size, p.Alloc)
	d.queue(p, i, size, r.Desc, r.Avail, r.Used)
	d.enable(p, i)
	return r
}

// untilUsed waits for a ring's used index, which stands behind its flags.
func (p *player) untilUsed(r *virtiotest.Ring, n uint16) {
	p.until(uint32(r.Used), 0xFFFF0000, uint32(n)<<16)
}

// A witness is a second device of the machine, driven well all the time.
type witness struct {
	plug plug
	ring *virtiotest.Ring
	n    uint16
}

const witnessSize = 16

// newWitness starts an entropy device.
func newWitness(p *player, d plug) *witness {
	w := &witness{plug: d}
	d.prepare(p)
	p.negotiate(d, 0)
	w.ring = p.ring(d, 0, witnessSize)
	for i := range uint16(witnessSize) {
		w.ring.SetDesc(i, p.Alloc(16, 1), 16, virtiotest.Write, 0)
		binary.LittleEndian.PutUint16(p.Bytes(w.ring.Avail+4+2*uint64(i), 2), i)
	}
	d.status(p, statusDriverOK)
	return w
}

// works has the device answer one more request.
func (w *witness) works(p *player) {
	w.n++
	p.write32(uint32(w.ring.Avail), uint32(w.n)<<16) // flags 0, idx
	w.plug.notify(p, 0, 1)
	p.untilUsed(w.ring, w.n)
	p.wants("the witness's length", opRead32, uint32(w.ring.Used)+4+8*uint32((w.n-1)%witnessSize)+4, ^uint32(0), 16)
}
