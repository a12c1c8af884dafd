package pci

import (
	"encoding/binary"
	"fmt"

	"tandem/virtio"
)

// ConfigRead fills p from the function's 4096 bytes of configuration space.
func (f *Function) ConfigRead(off uint16, p []byte) {
	if touches(off, p, accessData) {
		f.accessRead()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setStatus()
	f.space.read(off, p)
}

// setStatus brings the one live bit of the status register up to date.
func (f *Function) setStatus() {
	v := f.space.get16(regStatus) &^ statusInterrupt
	if f.intx.pending() {
		v |= statusInterrupt
	}
	f.space.set16(regStatus, v)
}

// ConfigWrite writes to configuration space.
func (f *Function) ConfigWrite(off uint16, p []byte) {
	f.mu.Lock()
	f.space.write(off, p)
	f.follow()
	f.mu.Unlock()
	if touches(off, p, accessData) {
		f.accessWrite()
	}
}

// touches tells whether an access meets the 4-byte register reg.
func touches(off uint16, p []byte, reg int) bool {
	return int(off) < reg+4 && int(off)+len(p) > reg
}

// follow does what the registers ask for: it decodes the BAR at its address, and
// switches interrupts. Called with mu held.
func (f *Function) follow() {
	command, control := f.space.get16(regCommand), f.space.get16(msixControl)
	msix := len(f.msix.vectors) > 0 && control&msixControlEnable != 0
	f.msix.control(msix, control&msixControlMask != 0)
	f.intx.disable(msix || command&commandIntxOff != 0)

	var want uint64
	if addr := f.space.get32(regBAR + 4*bar); command&commandMemory != 0 && addr != ^uint32(f.layout.size-1) {
		// All ones is not an address: software is finding out the size, with
		// decoding left on. Nor is 0: nobody has given one yet.
		want = uint64(addr)
	}
	if want != f.mapped {
		f.move(want)
	}
}

// move decodes the BAR at another address, or nowhere for 0. Where the host has no
// room for it, it is decoded nowhere, until it is moved again.
func (f *Function) move(addr uint64) {
	if f.mapped != 0 {
		f.unbind()
		if err := f.host.Unmap(f.barWindow()); err != nil {
			f.report(fmt.Errorf("unmap BAR %d at %#x: %w", bar, f.mapped, err))
		}
	}
	f.mapped = addr
	if addr == 0 {
		return
	}
	if err := f.host.Map(f.barWindow(), &f.window); err != nil {
		f.report(fmt.Errorf("map BAR %d at %#x: %w", bar, addr, err))
		f.mapped = 0
		return
	}
	f.bind()
}

func (f *Function) barWindow() virtio.Window {
	return virtio.Window{Bus: virtio.MMIO, Addr: f.mapped, Size: f.layout.size}
}

// doorbell is a write of any width to a queue's own notification address: the
// address says all, and the widest match is the cheapest for KVM.
func (f *Function) doorbell(queue int) virtio.Doorbell {
	return virtio.Doorbell{Bus: virtio.MMIO, Addr: f.mapped + barNotify + notifySize*uint64(queue)}
}

// bind has the doorbells signal the kicks. Where the host cannot, kicks come to the
// window, which does the same, only slower.
func (f *Function) bind() {
	if f.opt.Direct {
		return
	}
	for i := range f.bound {
		f.bound[i] = f.host.Bind(f.doorbell(i), f.regs.Kick(i)) == nil
	}
}

func (f *Function) unbind() {
	for i, bound := range f.bound {
		if !bound {
			continue
		}
		if err := f.host.Unbind(f.doorbell(i), f.regs.Kick(i)); err != nil {
			f.report(fmt.Errorf("unbind doorbell of queue %d: %w", i, err))
		}
		f.bound[i] = false
	}
}

// accessWrite carries out a write through the window in configuration space. The
// lock is not held meanwhile: the write may reset the device, and wait.
func (f *Function) accessWrite() {
	var buf [4]byte
	off, p, ok := f.access(&buf)
	if ok {
		f.window.Write(off, p)
	}
}

// accessRead refreshes the data of the window in configuration space.
func (f *Function) accessRead() {
	var buf [4]byte
	off, p, ok := f.access(&buf)
	if !ok {
		return
	}
	f.window.Read(off, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	copy(f.space.bytes[accessData:], p)
}

// access tells where the window in configuration space points to, and puts its data
// into buf. It points nowhere unless the driver followed virtio 1.2, section
// 4.1.4.9.2.
func (f *Function) access(buf *[4]byte) (off uint64, p []byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	off = uint64(f.space.get32(accessOffset))
	n := uint64(f.space.get32(accessLength))
	switch {
	case f.space.bytes[accessBAR] != bar,
		n != 1 && n != 2 && n != 4,
		off%n != 0,
		off+n > f.layout.size:
		return 0, nil, false
	}
	binary.LittleEndian.PutUint32(buf[:], f.space.get32(accessData))
	return off, buf[:n], true
}
