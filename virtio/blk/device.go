package blk

import (
	"encoding/binary"
	"math/bits"

	"tandem/virtio"
)

// Feature bits. virtio 1.2, section 5.2.3.
const (
	featureSizeMax     = 1  // VIRTIO_BLK_F_SIZE_MAX
	featureSegMax      = 2  // VIRTIO_BLK_F_SEG_MAX
	featureRO          = 5  // VIRTIO_BLK_F_RO
	featureBlkSize     = 6  // VIRTIO_BLK_F_BLK_SIZE
	featureFlush       = 9  // VIRTIO_BLK_F_FLUSH
	featureTopology    = 10 // VIRTIO_BLK_F_TOPOLOGY
	featureConfigWCE   = 11 // VIRTIO_BLK_F_CONFIG_WCE
	featureMQ          = 12 // VIRTIO_BLK_F_MQ
	featureDiscard     = 13 // VIRTIO_BLK_F_DISCARD
	featureWriteZeroes = 14 // VIRTIO_BLK_F_WRITE_ZEROES
)

// struct virtio_blk_config. virtio 1.2, section 5.2.4.
const (
	configCapacity          = 0
	configSizeMax           = 8
	configSegMax            = 12
	configBlkSize           = 20
	configPhysicalExp       = 24
	configAlignment         = 25
	configMinIO             = 26
	configOptIO             = 28
	configWriteback         = 32
	configNumQueues         = 34
	configMaxDiscard        = 36
	configMaxDiscardSeg     = 40
	configDiscardAlign      = 44
	configMaxWriteZeroes    = 48
	configMaxWriteZeroesSeg = 52
	configMayUnmap          = 56
	configSize              = 60
)

const (
	// segMax is how many pieces of data a request has: what a queue holds but for
	// the header and the status.
	segMax = queueSize - 2
	// sizeMax is how long a piece may be. segMax of them are less than what one
	// system call moves (MAX_RW_COUNT).
	sizeMax = 4 << 20
	// maxRanges is how many ranges a discard or a write-zeroes has.
	maxRanges = 16
	// maxDiscard and maxZeroes are how many sectors a range has. Zeros may have to
	// be written out, in one request which a reset waits for.
	maxDiscard = 1 << 22
	maxZeroes  = 1 << 17
)

// Type implements virtio.Device.
func (d *Disk) Type() virtio.Type { return virtio.TypeBlk }

// Features implements virtio.Device.
func (d *Disk) Features() uint64 { return d.features }

func (d *Disk) offer() uint64 {
	f := virtio.RingFeatures | 1<<featureSizeMax | 1<<featureSegMax | 1<<featureBlkSize |
		1<<featureFlush | 1<<featureTopology | 1<<featureMQ
	if d.spec.ReadOnly {
		return f | 1<<featureRO
	}
	return f | 1<<featureConfigWCE | 1<<featureDiscard | 1<<featureWriteZeroes
}

// QueueSizes implements virtio.Device.
func (d *Disk) QueueSizes() []uint16 {
	sizes := make([]uint16, d.spec.Queues)
	for i := range sizes {
		sizes[i] = queueSize
	}
	return sizes
}

func (d *Disk) makeConfig() (c [configSize]byte) {
	put16, put32, put64 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	b := d.file
	logical := max(b.logical, sectorSize)
	put64(c[configCapacity:], uint64(b.size/sectorSize))
	put32(c[configSizeMax:], sizeMax)
	put32(c[configSegMax:], segMax)
	put32(c[configBlkSize:], uint32(logical))
	if b.physical > logical {
		c[configPhysicalExp] = byte(bits.Len(uint(b.physical/logical)) - 1)
	}
	c[configAlignment] = byte(max(b.alignment, 0) / logical)
	put16(c[configMinIO:], uint16(min(b.minIO/logical, 0xffff)))
	put32(c[configOptIO:], uint32(b.optIO/logical))
	put16(c[configNumQueues:], uint16(d.spec.Queues))
	if !d.spec.ReadOnly {
		put32(c[configMaxDiscard:], maxDiscard)
		put32(c[configMaxDiscardSeg:], maxRanges)
		put32(c[configDiscardAlign:], uint32(max(b.physical, logical)/sectorSize))
		put32(c[configMaxWriteZeroes:], maxZeroes)
		put32(c[configMaxWriteZeroesSeg:], maxRanges)
		c[configMayUnmap] = 1
	}
	return c
}

// ReadConfig implements virtio.Device.
func (d *Disk) ReadConfig(off uint32, p []byte) {
	if off >= configSize {
		return
	}
	n := uint32(copy(p, d.config[off:]))
	if at := uint32(configWriteback); off <= at && at < off+n {
		p[at-off] = 0
		if d.cached.Load() {
			p[at-off] = 1
		}
	}
}

// WriteConfig implements virtio.Device. The driver may change one byte: whether
// writes are cached. The rest is read-only.
func (d *Disk) WriteConfig(off uint32, p []byte) {
	if d.agreed.Load()&(1<<featureConfigWCE) == 0 || off != configWriteback || len(p) != 1 {
		return
	}
	if p[0] != 0 {
		d.cached.Store(true)
		return
	}
	// From here on nobody flushes what is in the cache now.
	if d.cached.Swap(false) {
		if err := d.file.sync(); err != nil {
			d.report(err)
		}
	}
}

// Activate implements virtio.Device.
func (d *Disk) Activate(a *virtio.Activation) error {
	d.agreed.Store(a.Features)
	// virtio 1.2, section 5.2.5.2: without the two features the driver cannot
	// flush, and with CONFIG_WCE it says itself.
	if !a.Has(featureConfigWCE) {
		d.cached.Store(a.Has(featureFlush))
	}
	d.workers.Start(a, func(int) virtio.Serve { return newRequests(d).serve })
	return nil
}

// Reset implements virtio.Device.
func (d *Disk) Reset() {
	d.workers.Stop()
	d.agreed.Store(0)
	d.cached.Store(true)
}

// StopQueue implements virtio.QueueResetter.
func (d *Disk) StopQueue(i int) { d.workers.StopQueue(i) }

// StartQueue implements virtio.QueueResetter.
func (d *Disk) StartQueue(i int, q virtio.Queue) error {
	d.workers.StartQueue(i, q)
	return nil
}

// Notify implements virtio.Notified.
func (d *Disk) Notify(i int) { d.workers.Notify(i) }

var (
	_ virtio.QueueResetter = (*Disk)(nil)
	_ virtio.Notified      = (*Disk)(nil)
)
