package console

import (
	"encoding/binary"

	"tandem/virtio/queue"
)

// Control messages. virtio 1.2, section 5.3.6.2.
const (
	eventDeviceReady = 0 // VIRTIO_CONSOLE_DEVICE_READY, from the driver
	eventPortAdd     = 1 // VIRTIO_CONSOLE_PORT_ADD
	eventPortRemove  = 2 // VIRTIO_CONSOLE_PORT_REMOVE
	eventPortReady   = 3 // VIRTIO_CONSOLE_PORT_READY, from the driver
	eventConsolePort = 4 // VIRTIO_CONSOLE_CONSOLE_PORT
	eventResize      = 5 // VIRTIO_CONSOLE_RESIZE
	eventPortOpen    = 6 // VIRTIO_CONSOLE_PORT_OPEN, both ways
	eventPortName    = 7 // VIRTIO_CONSOLE_PORT_NAME

	controlSize = 8 // struct virtio_console_control
)

// pending is what a port has to tell the driver, a bit each, in the order in which it does.
type pending uint8

const (
	tellRemove pending = 1 << iota
	tellAdd
	tellConsole
	tellResize
	tellName
	tellClosed
	tellOpened
)

// serveControlReceive is the virtio.Serve of the control receiveq: a chain is one message.
func (d *Device) serveControlReceive(q *queue.Queue, c *queue.Chain) (uint32, error) {
	var buf [controlSize + MaxName]byte
	m := d.next(buf[:0])
	if m == nil {
		return 0, idle
	}
	if c.WriteLen < uint64(len(m)) {
		return 0, q.Broken(c, "a buffer too short for a control message")
	}
	written := uint32(len(m))
	for _, p := range c.Writable {
		m = m[copy(p, m):]
	}
	return written, nil
}

// next appends the message that comes next; nil if there is nothing to say.
func (d *Device) next(m []byte) []byte {
	for _, p := range d.ports {
		if m := p.next(m); m != nil {
			return m
		}
	}
	return nil
}

func (p *Port) next(m []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == 0 {
		return nil
	}
	what := p.pending & -p.pending
	p.pending &^= what
	message := func(event, value uint16) []byte {
		m = binary.LittleEndian.AppendUint32(m, uint32(p.number))
		m = binary.LittleEndian.AppendUint16(m, event)
		return binary.LittleEndian.AppendUint16(m, value)
	}
	switch what {
	case tellRemove:
		return message(eventPortRemove, 1)
	case tellAdd:
		p.known = true
		return message(eventPortAdd, 1)
	case tellConsole:
		return message(eventConsolePort, 1)
	case tellResize:
		p.device.mu.Lock()
		s := p.device.size
		p.device.mu.Unlock()
		m = message(eventResize, 0)
		m = binary.LittleEndian.AppendUint16(m, s.cols)
		return binary.LittleEndian.AppendUint16(m, s.rows)
	case tellName:
		return append(message(eventPortName, 1), p.spec.Name...)
	case tellClosed:
		return message(eventPortOpen, 0)
	}
	return message(eventPortOpen, 1)
}

// serveControlTransmit is the virtio.Serve of the control transmitq. What makes no sense is counted.
func (d *Device) serveControlTransmit(_ *queue.Queue, c *queue.Chain) (uint32, error) {
	var m [controlSize]byte
	n := 0
	for _, p := range c.Readable {
		n += copy(m[n:], p)
	}
	if n < controlSize || !d.control(m) {
		d.bad.Add(1)
	}
	return 0, nil
}

// control does what the driver says, and tells whether that makes sense.
func (d *Device) control(m [controlSize]byte) bool {
	id, event, value := binary.LittleEndian.Uint32(m[:]), binary.LittleEndian.Uint16(m[4:]), binary.LittleEndian.Uint16(m[6:])
	if event == eventDeviceReady {
		for _, p := range d.ports {
			p.deviceReady(value != 0)
		}
		d.wake(controlReceiveQueue)
		return true
	}
	if id >= uint32(len(d.ports)) {
		return false
	}
	p := d.ports[id]
	switch event {
	case eventPortReady:
		p.portReady(value != 0, d.resizes.Load())
		d.wake(controlReceiveQueue)
	case eventPortOpen:
		p.guestOpen(value != 0)
		d.wake(receiveQueue(p.number))
	default:
		return false
	}
	return true
}

// deviceReady: the driver is there, or has given up.
func (p *Port) deviceReady(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.driver, p.known, p.ready, p.pending = ok, false, false, 0
	p.setOpen(false)
	if ok && !p.unplugged {
		p.pending = tellAdd
	}
}

// portReady: the driver has the port, and can be told more of it.
func (p *Port) portReady(ok, resizes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready = ok && !p.unplugged; !p.ready {
		return
	}
	p.pending &= tellRemove | tellAdd
	if p.spec.Console {
		p.pending |= tellConsole
		if resizes {
			p.pending |= tellResize
		}
	}
	if p.spec.Name != "" {
		p.pending |= tellName
	}
	if p.conn != nil {
		p.pending |= tellOpened
	}
}

// guestOpen: a program in the guest has opened or closed the port.
func (p *Port) guestOpen(open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setOpen(open && !p.unplugged)
}

// resize has the driver told the window's size.
func (p *Port) resize() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spec.Console && p.ready {
		p.pending |= tellResize
	}
}
