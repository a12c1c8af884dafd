package kernel

import (
	"errors"
	"fmt"

	"tandem/vhost/dirty"
)

// ErrNoLog is a kernel without VHOST_F_LOG_ALL.
var ErrNoLog = fmt.Errorf("VHOST_F_LOG_ALL: %w", errors.ErrUnsupported)

// SetLog has the kernel mark each page that it writes from now on, or, with nil, no more. It may be called at any time,
// while the device runs or before; it lasts over resets. The log has to cover guest memory (the error wraps
// dirty.ErrTooSmall), now and after each SetMemory: for memory that grows, first set a larger one. It stays the
// caller's, and in use until another or none was set, or Close.
//
// Three things have the kernel mark pages (drivers/vhost/vhost.c):
//
//   - VHOST_SET_LOG_BASE, where the bitmap is; log_write sets bits there, one get_user_pages and one atomic
//     set_bit_le a page;
//   - the feature VHOST_F_LOG_ALL, for the buffers of packets that were received (vhost_log_write). The kernel
//     refuses it (EFAULT) for a bitmap that this process does not have for all of memory;
//   - the flag VHOST_VRING_F_LOG of a ring's addresses, for its used ring: a ring's own bytes are at addresses of this
//     process, and log_guest_addr says which guest address they count as.
//
// Several pairs set bits in one log. Off, it costs the kernel a test of a feature bit a packet.
func (n *Net) SetLog(log *dirty.Log) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if log != nil && n.features&(1<<FeatureLogAll) == 0 {
		return fmt.Errorf("kernel: %s: set log: %w", NetPath, ErrNoLog)
	}
	old := n.log
	n.log = log
	if n.life == nil {
		return nil // Activate does the rest
	}
	err := n.applyLog()
	if err != nil {
		n.log = old
		err = errors.Join(err, n.applyLog())
	}
	return err
}

// applyLog brings a life in step with n.log.
func (n *Net) applyLog() error {
	if err := n.tellPairs(); err != nil {
		return err
	}
	for _, r := range n.life.rings {
		if r == nil {
			continue
		}
		if err := r.setAddr(n.log != nil); err != nil {
			return err
		}
	}
	return nil
}

// tellPairs tells the pairs of the log, and of the features that were agreed on with it.
func (n *Net) tellPairs() error {
	if err := n.checkLog(); err != nil {
		return err
	}
	for _, d := range n.pairs {
		if err := n.setLogBase(d); err != nil {
			return err
		}
		if err := d.SetFeatures(n.agreed()); err != nil {
			return err
		}
	}
	return nil
}

// checkLog wants the log to cover the memory of the life.
func (n *Net) checkLog() error {
	if n.log == nil {
		return nil
	}
	if err := n.log.Covers(n.life.Memory); err != nil {
		return fmt.Errorf("kernel: %s: set log: %w", NetPath, err)
	}
	return nil
}

// setLogBase says where the bitmap is. There is no saying that there is none: without the feature and the flag nobody
// looks.
func (n *Net) setLogBase(d *Device) error {
	if n.log == nil {
		return nil
	}
	return d.SetLogBase(n.log.Address())
}

// agreed are the features of the life, as the kernel is told.
func (n *Net) agreed() uint64 {
	features := n.life.Features & n.Features()
	if n.spec.Header {
		features |= 1 << FeatureNetVirtioHdr
	}
	if n.log != nil {
		features |= 1 << FeatureLogAll
	}
	return features
}
