package blk

import (
	"fmt"
	"path/filepath"
	"sync/atomic"

	"tandem/virtio"
	"tandem/virtio/limit"
)

const (
	// queueSize is the size of each request queue.
	queueSize = 256
	// maxQueues bounds Spec.Queues. A goroutine a vCPU is the most of use.
	maxQueues = 256
	// maxSerial is the length of what GET_ID answers: VIRTIO_BLK_ID_BYTES.
	maxSerial = 20
)

// Spec says what disk is wanted.
type Spec struct {
	Path     string // a raw image file or a block device
	ReadOnly bool
	Serial   string // what GET_ID answers, up to 20 bytes; empty for Path's last part
	Queues   int    // request queues, 0 for 1

	// Report is told of errors of the file, which the guest sees as an I/O error
	// without a reason. May be nil. It may be called from several goroutines at
	// once.
	Report func(error)
}

// Disk is a virtio block device. It implements virtio.Device, virtio.QueueResetter
// and virtio.Notified.
type Disk struct {
	spec     Spec
	file     *backing
	serial   string
	features uint64 // offered
	config   [configSize]byte
	workers  virtio.Workers

	// Limit bounds requests, and the bytes that they read and write. It may be
	// changed at any time.
	Limit limit.Limiter
	stats counters

	// cached tells that writes may stay in the page cache until a flush. The driver
	// may change it while requests are in flight (VIRTIO_BLK_F_CONFIG_WCE).
	cached atomic.Bool
	// agreed are the features of the present activation, 0 if there is none.
	agreed atomic.Uint64
}

// Open opens the disk's file, checks that it can be a disk, and locks it: the error
// wraps ErrInUse if another user's lock is in the way.
func Open(spec Spec) (*Disk, error) {
	d := &Disk{spec: spec, serial: spec.Serial}
	switch {
	case spec.Queues < 0 || spec.Queues > maxQueues:
		return nil, fmt.Errorf("blk: open disk %s: %d queues: not from 1 to %d", spec.Path, spec.Queues, maxQueues)
	case len(spec.Serial) > maxSerial:
		return nil, fmt.Errorf("blk: open disk %s: serial %q: longer than %d bytes", spec.Path, spec.Serial, maxSerial)
	case spec.Queues == 0:
		d.spec.Queues = 1
	}
	if d.serial == "" {
		base := filepath.Base(spec.Path)
		d.serial = base[:min(len(base), maxSerial)]
	}
	var err error
	if d.file, err = openBacking(spec.Path, spec.ReadOnly); err != nil {
		return nil, fmt.Errorf("blk: %w", err)
	}
	d.features = d.offer()
	d.config = d.makeConfig()
	d.cached.Store(true)
	d.Limit.OnSet(d.workers.Wake)
	return d, nil
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.file.size }

// Close closes the file, and so unlocks it. The device must not be active.
func (d *Disk) Close() error {
	if err := d.file.close(); err != nil {
		return fmt.Errorf("blk: %w", err)
	}
	return nil
}

func (d *Disk) report(err error) {
	if d.spec.Report != nil {
		d.spec.Report(fmt.Errorf("blk: %w", err))
	}
}
