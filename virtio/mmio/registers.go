package mmio

import (
	"encoding/binary"

	"tandem/virtio/internal/control"
)

// The registers. virtio 1.2, section 4.2.2.
const (
	regMagic             = 0x000
	regVersion           = 0x004
	regDeviceID          = 0x008
	regVendorID          = 0x00c
	regDeviceFeatures    = 0x010
	regDeviceFeaturesSel = 0x014
	regDriverFeatures    = 0x020
	regDriverFeaturesSel = 0x024
	regQueueSel          = 0x030
	regQueueSizeMax      = 0x034
	regQueueSize         = 0x038
	regQueueReady        = 0x044
	regQueueNotify       = 0x050
	regInterruptStatus   = 0x060
	regInterruptACK      = 0x064
	regStatus            = 0x070
	regQueueDesc         = 0x080
	regQueueDriver       = 0x090
	regQueueDevice       = 0x0a0
	regSHMSel            = 0x0ac
	regSHMLen            = 0x0b0
	regSHMBase           = 0x0b8
	regQueueReset        = 0x0c0
	regGeneration        = 0x0fc
	regConfig            = 0x100

	magic   = 0x74726976 // "virt"
	version = 2
	vendor  = 0x1af4
)

// selectors are the registers that say what others mean.
type selectors struct {
	deviceFeatures uint32
	driverFeatures uint32
	queue          uint32
}

// Read answers a read of the window. A driver must read registers 32 bits wide
// (virtio 1.2, section 4.2.2.2); other reads give 0. The device's own configuration
// can be read in any width.
func (t *Transport) Read(off uint64, p []byte) {
	clear(p)
	switch {
	case off >= regConfig:
		t.regs.ReadConfig(uint32(off-regConfig), p)
	case len(p) == 4:
		binary.LittleEndian.PutUint32(p, t.register(off))
	}
}

func (t *Transport) register(off uint64) uint32 {
	// These can be read while a reset holds the lock.
	switch off {
	case regMagic:
		return magic
	case regVersion:
		return version
	case regDeviceID:
		return uint32(t.dev.Type())
	case regVendorID:
		return vendor
	case regStatus:
		return uint32(t.regs.Status())
	case regInterruptStatus:
		return t.irq.pending()
	case regGeneration:
		return t.regs.Generation()
	case regSHMLen, regSHMLen + 4, regSHMBase, regSHMBase + 4:
		return 0xffffffff // no shared memory regions
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.regs.Queue(t.selectors.queue)
	switch off {
	case regDeviceFeatures:
		return t.regs.DeviceFeatures(t.selectors.deviceFeatures)
	case regQueueSizeMax:
		return uint32(t.regs.MaxSize(t.selectors.queue))
	case regQueueReady:
		if q.Enabled {
			return 1
		}
	}
	return 0 // write-only, or nothing; QueueReset is over when the write returns
}

// Write carries out a write to the window.
func (t *Transport) Write(off uint64, p []byte) {
	if off >= regConfig {
		t.regs.WriteConfig(uint32(off-regConfig), p)
		return
	}
	if len(p) != 4 {
		return
	}
	v := binary.LittleEndian.Uint32(p)
	switch off {
	case regQueueNotify:
		t.regs.Notify(int(v))
		return
	case regInterruptACK:
		t.irq.acknowledge(v)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setRegister(off, v)
}

func (t *Transport) setRegister(off uint64, v uint32) {
	sel := t.selectors.queue
	switch off {
	case regDeviceFeaturesSel:
		t.selectors.deviceFeatures = v
	case regDriverFeaturesSel:
		t.selectors.driverFeatures = v
	case regDriverFeatures:
		t.regs.SetDriverFeatures(t.selectors.driverFeatures, v)
	case regQueueSel:
		t.selectors.queue = v
	case regQueueSize:
		t.regs.Change(sel, func(q *control.Queue) { q.Size = uint16(min(v, 0xffff)) })
	case regQueueReady:
		if v&1 != 0 {
			t.regs.Enable(sel)
		} else {
			t.regs.Disable(sel)
		}
	case regQueueReset:
		if v&1 != 0 {
			t.regs.ResetQueue(sel)
		}
	case regStatus:
		// Only a whole 0 is a reset; there are no bits above 7 to set.
		if v <= 0xff {
			t.regs.SetStatus(uint8(v))
		}
	case regQueueDesc, regQueueDriver, regQueueDevice:
		t.setHalf(off, 0, v)
	case regQueueDesc + 4, regQueueDriver + 4, regQueueDevice + 4:
		t.setHalf(off-4, 32, v)
	}
}

// setHalf writes one half of an address of the selected queue.
func (t *Transport) setHalf(off uint64, shift uint, v uint32) {
	t.regs.Change(t.selectors.queue, func(q *control.Queue) {
		a := &q.Desc
		switch off {
		case regQueueDriver:
			a = &q.Avail
		case regQueueDevice:
			a = &q.Used
		}
		*a = *a&^(0xffffffff<<shift) | uint64(v)<<shift
	})
}
