package balloon

import (
	"encoding/binary"
	"fmt"
	"math"
)

// struct virtio_balloon_config. virtio 1.2, section 5.5.4.
const (
	configPages  = 0 // num_pages
	configActual = 4
	configPoison = 12
	configSize   = 16
)

// config is what stands in the configuration space.
type config struct {
	pages  uint32 // that the host wants
	actual uint32 // that the balloon has, as the driver says
	poison uint32 // what the driver fills free pages with
}

func (c *config) encode() (b [configSize]byte) {
	binary.LittleEndian.PutUint32(b[configPages:], c.pages)
	binary.LittleEndian.PutUint32(b[configActual:], c.actual)
	binary.LittleEndian.PutUint32(b[configPoison:], c.poison)
	return b
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint32, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.config.encode(); off < configSize {
		copy(p, b[off:])
	}
}

// WriteConfig implements virtio.Device: the driver writes actual and poison_val.
func (d *Device) WriteConfig(off uint32, p []byte) {
	if off >= configSize {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.config.encode()
	copy(b[off:], p)
	d.config.actual = binary.LittleEndian.Uint32(b[configActual:])
	d.config.poison = binary.LittleEndian.Uint32(b[configPoison:])
}

func (d *Device) poison() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config.poison
}

// Size is how many bytes the balloon is to take from the guest, and how many it has, which is the driver's word.
func (d *Device) Size() (target, actual uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.config.pages) * PageSize, uint64(d.config.actual) * PageSize
}

// SetTarget asks the driver for a balloon of so many bytes, a multiple of PageSize. It does not wait: Size tells how far
// the driver has come.
func (d *Device) SetTarget(bytes uint64) error {
	if err := checkTarget(bytes); err != nil {
		return fmt.Errorf("virtio/balloon: set target: %w", err)
	}
	change := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.config.pages = uint32(bytes / PageSize)
	}
	d.mu.Lock()
	update := d.update
	d.mu.Unlock()
	if update == nil {
		change()
		return nil
	}
	update(change)
	return nil
}

func checkTarget(bytes uint64) error {
	switch {
	case bytes%PageSize != 0:
		return fmt.Errorf("target of %d bytes: want a multiple of %d", bytes, PageSize)
	case bytes/PageSize > math.MaxUint32:
		return fmt.Errorf("target of %d bytes: want at most %d pages", bytes, uint32(math.MaxUint32))
	}
	return nil
}
