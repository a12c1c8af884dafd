package console

import "encoding/binary"

// struct virtio_console_config. virtio 1.2, section 5.3.4.
const (
	configCols     = 0
	configRows     = 2
	configMaxPorts = 4
	configEmergWr  = 8
	configSize     = 12
)

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint32, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var c [configSize]byte
	binary.LittleEndian.PutUint16(c[configCols:], d.size.cols)
	binary.LittleEndian.PutUint16(c[configRows:], d.size.rows)
	binary.LittleEndian.PutUint32(c[configMaxPorts:], uint32(len(d.ports)))
	if off < configSize {
		copy(p, c[off:])
	}
}

// WriteConfig implements virtio.Device: a driver in distress writes a character to emerg_wr, with no queue and before
// any feature is agreed upon (virtio 1.2, section 5.3.5). It comes out of port 0, if there is room.
func (d *Device) WriteConfig(off uint32, p []byte) {
	if off > configEmergWr || configEmergWr-off >= uint32(len(p)) {
		return
	}
	at := configEmergWr - off
	if c := d.ports[0].connection(); c != nil {
		c.put(p[at : at+1])
	}
}

// SetSize tells the driver the window's size. Without VIRTIO_CONSOLE_F_MULTIPORT it stands in the configuration space;
// with it, every console port is told by a message.
func (d *Device) SetSize(cols, rows uint16) {
	d.mu.Lock()
	update, same := d.update, d.size == size{cols, rows}
	d.mu.Unlock()
	if same {
		return
	}
	change := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.size = size{cols, rows}
	}
	if update != nil {
		update(change)
	} else {
		change()
	}
	if d.multiport.Load() && d.resizes.Load() {
		for _, p := range d.ports {
			p.resize()
		}
		d.wake(controlReceiveQueue)
	}
}
