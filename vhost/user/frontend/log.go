package frontend

import (
	"errors"
	"fmt"

	"tandem/vhost/dirty"
	"tandem/vhost/user"
)

// ErrNoLog is a back-end that cannot mark dirty pages in shared memory.
var ErrNoLog = fmt.Errorf("LOG_SHMFD with VHOST_F_LOG_ALL: %w", errors.ErrUnsupported)

// SetLog has the back-end mark each page of guest memory that it writes from now on, or, with nil, no more. It may be
// called at any time, while the device is active or before; it lasts over resets, and over back-ends: the next one
// marks the same log. The log has to cover guest memory (the error wraps dirty.ErrTooSmall), and one of dirty.New's,
// whose file the back-end gets. It stays the caller's, and in use until another or none was set, or Close.
//
// When a back-end has died in the midst of it, pages may have been written and not marked. Whoever migrates then has to
// copy all of memory again.
func (d *Device) SetLog(log *dirty.Log) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.log
	d.log = log
	if d.life == nil || d.link == nil {
		return nil // what starts the rings does the rest
	}
	err := d.applyLog(d.link)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrLost) {
		d.log = old
		if again := d.applyLog(d.link); again != nil {
			err = errors.Join(err, again)
		}
	}
	return fmt.Errorf("frontend: set log of %v: %w", d.spec.Type, err)
}

// applyLog brings a back-end that serves the rings in step with d.log. A ring's addresses are repeated for their flag.
func (d *Device) applyLog(l *link) error {
	if err := d.checkLog(l); err != nil {
		return err
	}
	if err := d.sendLog(l); err != nil {
		return err
	}
	if err := l.do(user.SetFeatures, user.U64(d.agreed(l))); err != nil {
		return err
	}
	for i, r := range d.life.rings {
		if r == nil {
			continue
		}
		addr, err := d.address(i, r)
		if err == nil {
			err = l.do(user.SetVringAddr, addr)
		}
		if err != nil {
			return fmt.Errorf("ring %d: %w", i, err)
		}
	}
	return nil
}

// checkLog wants a back-end that can keep the log, and a log that covers the memory.
func (d *Device) checkLog(l *link) error {
	if d.log == nil {
		return nil
	}
	if !l.protocol.Has(user.ProtocolLogSHMFD) || l.features&(1<<user.FeatureLogAll) == 0 {
		return ErrNoLog
	}
	return d.log.Covers(d.life.Memory)
}

// sendLog says where the log is. There is no saying that there is none: without the feature nobody looks.
func (d *Device) sendLog(l *link) error {
	if d.log == nil {
		return nil
	}
	return l.do(user.SetLogBase, user.Log{Size: d.log.Size()}, int(d.log.File().Fd()))
}

// agreed are the features of the life, as the back-end is told.
func (d *Device) agreed(l *link) uint64 {
	features := d.life.Features & l.features
	if l.features&(1<<user.FeatureProtocol) != 0 {
		features |= 1 << user.FeatureProtocol
	}
	if d.log != nil {
		features |= 1 << user.FeatureLogAll
	}
	return features
}
