package pci

import (
	"encoding/binary"

	"tandem/virtio/internal/control"
)

// window is the BAR's virtio.Handler.
type window struct{ f *Function }

// Read answers a read of the BAR. What lies in no structure reads 0.
func (w *window) Read(off uint64, p []byte) {
	clear(p)
	f := w.f
	switch {
	case off < barISR:
		f.readCommon(off, p)
	case off < barDevice:
		if off == barISR && len(p) > 0 {
			p[0] = f.intx.take()
		}
	case off < barNotify:
		f.regs.ReadConfig(uint32(off-barDevice), p)
	case off < barTable:
	case off < f.layout.pba:
		f.msix.read(off-barTable, p)
	default:
		f.msix.pending(off-f.layout.pba, p)
	}
}

// Write carries out a write to the BAR.
func (w *window) Write(off uint64, p []byte) {
	f := w.f
	switch {
	case off < barISR:
		f.writeCommon(off, p)
	case off < barDevice:
	case off < barNotify:
		f.regs.WriteConfig(uint32(off-barDevice), p)
	case off < barTable:
		// The address names the queue; the value, the queue's number once more, is
		// not needed.
		if (off-barNotify)%notifySize == 0 {
			f.regs.Notify(int(off-barNotify) / notifySize)
		}
	case off < f.layout.pba:
		f.msix.write(off-barTable, p)
	}
}

// selectors are the registers that say what others mean.
type selectors struct {
	deviceFeature uint32
	driverFeature uint32
	queue         uint16
}

// readCommon reads a field of the common configuration. A driver must use the width
// of the field, 32 bits for those of 64 (virtio 1.2, section 4.1.3.1); other reads
// give 0.
func (f *Function) readCommon(off uint64, p []byte) {
	// These two can be watched while a reset holds the lock.
	switch {
	case off == commonStatus && len(p) == 1:
		p[0] = f.regs.Status()
		return
	case off == commonGeneration && len(p) == 1:
		p[0] = uint8(f.regs.Generation())
		return
	}
	f.regMu.Lock()
	defer f.regMu.Unlock()
	switch len(p) {
	case 2:
		binary.LittleEndian.PutUint16(p, f.common16(off))
	case 4:
		binary.LittleEndian.PutUint32(p, f.common32(off))
	case 8:
		binary.LittleEndian.PutUint64(p, f.common64(off))
	}
}

func (f *Function) common16(off uint64) uint16 {
	sel := uint32(f.selectors.queue)
	q := f.regs.Queue(sel)
	switch off {
	case commonConfigVector:
		return uint16(f.configVector.Load())
	case commonNumQueues:
		return uint16(f.regs.NumQueues())
	case commonQueueSelect:
		return f.selectors.queue
	case commonQueueSize:
		return q.Size
	case commonQueueVector:
		if int(sel) >= len(f.queueVectors) {
			return noVector
		}
		return uint16(f.queueVectors[sel].Load())
	case commonQueueEnable:
		if q.Enabled {
			return 1
		}
	case commonQueueNotifyOff:
		if int(sel) < len(f.queueVectors) {
			return f.selectors.queue
		}
	}
	return 0 // and commonQueueReset: it is over when the write returns
}

func (f *Function) common32(off uint64) uint32 {
	switch off {
	case commonDeviceFeatureSelect:
		return f.selectors.deviceFeature
	case commonDeviceFeature:
		return f.regs.DeviceFeatures(f.selectors.deviceFeature)
	case commonDriverFeatureSelect:
		return f.selectors.driverFeature
	case commonDriverFeature:
		return f.regs.DriverFeatures(f.selectors.driverFeature)
	case commonQueueDesc, commonQueueDriver, commonQueueDevice:
		return uint32(f.common64(off))
	case commonQueueDesc + 4, commonQueueDriver + 4, commonQueueDevice + 4:
		return uint32(f.common64(off-4) >> 32)
	}
	return 0
}

func (f *Function) common64(off uint64) uint64 {
	q := f.regs.Queue(uint32(f.selectors.queue))
	if area := area(&q, off); area != nil {
		return *area
	}
	return 0
}

// area is the address register at off.
func area(q *control.Queue, off uint64) *uint64 {
	switch off {
	case commonQueueDesc:
		return &q.Desc
	case commonQueueDriver:
		return &q.Avail
	case commonQueueDevice:
		return &q.Used
	}
	return nil
}

// writeCommon writes a field of the common configuration. Writes of another width
// than the field's, and those to fields that are read-only, change nothing.
func (f *Function) writeCommon(off uint64, p []byte) {
	f.regMu.Lock()
	defer f.regMu.Unlock()
	switch len(p) {
	case 1:
		if off == commonStatus {
			f.regs.SetStatus(p[0])
		}
	case 2:
		f.setCommon16(off, binary.LittleEndian.Uint16(p))
	case 4:
		f.setCommon32(off, binary.LittleEndian.Uint32(p))
	case 8:
		v := binary.LittleEndian.Uint64(p)
		f.regs.Change(uint32(f.selectors.queue), func(q *control.Queue) {
			if a := area(q, off); a != nil {
				*a = v
			}
		})
	}
}

func (f *Function) setCommon16(off uint64, v uint16) {
	sel := uint32(f.selectors.queue)
	switch off {
	case commonConfigVector:
		f.configVector.Store(f.vector(v))
	case commonQueueSelect:
		f.selectors.queue = v
	case commonQueueSize:
		f.regs.Change(sel, func(q *control.Queue) { q.Size = v })
	case commonQueueVector:
		if int(sel) < len(f.queueVectors) {
			f.queueVectors[sel].Store(f.vector(v))
		}
	case commonQueueEnable:
		// Only reset disables a queue: a driver must not write 0.
		if v == 1 {
			f.regs.Enable(sel)
		}
	case commonQueueReset:
		if v == 1 {
			f.regs.ResetQueue(sel)
		}
	}
}

// vector is what reads back for a vector that the driver asked for: itself, or
// VIRTIO_MSI_NO_VECTOR if there is no such. virtio 1.2, section 4.1.5.1.2.1.
func (f *Function) vector(v uint16) uint32 {
	if int(v) >= len(f.msix.vectors) {
		return noVector
	}
	return uint32(v)
}

func (f *Function) setCommon32(off uint64, v uint32) {
	switch off {
	case commonDeviceFeatureSelect:
		f.selectors.deviceFeature = v
	case commonDriverFeatureSelect:
		f.selectors.driverFeature = v
	case commonDriverFeature:
		f.regs.SetDriverFeatures(f.selectors.driverFeature, v)
	case commonQueueDesc, commonQueueDriver, commonQueueDevice:
		f.setHalf(off, 0, v)
	case commonQueueDesc + 4, commonQueueDriver + 4, commonQueueDevice + 4:
		f.setHalf(off-4, 32, v)
	}
}

// setHalf writes one half of an address register.
func (f *Function) setHalf(off uint64, shift uint, v uint32) {
	f.regs.Change(uint32(f.selectors.queue), func(q *control.Queue) {
		a := area(q, off)
		*a = *a&^(0xffffffff<<shift) | uint64(v)<<shift
	})
}
