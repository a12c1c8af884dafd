package pci

import "math/bits"

// The function has one BAR, in 4 KiB pages with one structure each:
//
//	0x0000  common configuration       struct virtio_pci_common_cfg
//	0x1000  ISR status                 one byte
//	0x2000  device configuration
//	0x3000  notifications              4 bytes a queue: an address of its own for each
//	0x4000  MSI-X table                16 bytes a vector
//	then    MSI-X pending bits
const (
	bar        = 0 // the BAR's number
	barCommon  = 0x0000
	barISR     = 0x1000
	barDevice  = 0x2000
	barNotify  = 0x3000
	barTable   = 0x4000
	barPage    = 0x1000
	notifySize = 4 // notify_off_multiplier

	// maxQueues is how many queues have room in the page of notifications.
	maxQueues = barPage / notifySize
)

// layout is the part of the BAR that depends on how many vectors there are.
type layout struct {
	vectors uint64
	pba     uint64
	size    uint64 // of the BAR, a power of two
}

func newLayout(vectors int) layout {
	l := layout{vectors: uint64(vectors)}
	l.pba = barTable + (l.vectors*tableEntry+barPage-1)&^(barPage-1)
	l.size = 1 << bits.Len64(l.pba+barPage-1)
	return l
}

// struct virtio_pci_common_cfg. virtio 1.2, section 4.1.4.3.
const (
	commonDeviceFeatureSelect = 0
	commonDeviceFeature       = 4
	commonDriverFeatureSelect = 8
	commonDriverFeature       = 12
	commonConfigVector        = 16
	commonNumQueues           = 18
	commonStatus              = 20
	commonGeneration          = 21
	commonQueueSelect         = 22
	commonQueueSize           = 24
	commonQueueVector         = 26
	commonQueueEnable         = 28
	commonQueueNotifyOff      = 30
	commonQueueDesc           = 32
	commonQueueDriver         = 40
	commonQueueDevice         = 48
	commonQueueNotifyData     = 56
	commonQueueReset          = 58
	commonSize                = 60
)
