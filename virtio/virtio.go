package virtio

import "fmt"

// Type is a device's number. virtio 1.2, section 5.
type Type uint16

// The devices of virtio 1.2 that tandem knows by name.
const (
	TypeNet     Type = 1
	TypeBlk     Type = 2
	TypeConsole Type = 3
	TypeRNG     Type = 4
	TypeBalloon Type = 5
	TypeVsock   Type = 19
	TypeFS      Type = 26
)

var typeNames = map[Type]string{
	TypeNet:     "net",
	TypeBlk:     "blk",
	TypeConsole: "console",
	TypeRNG:     "rng",
	TypeBalloon: "balloon",
	TypeVsock:   "vsock",
	TypeFS:      "fs",
}

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("device %d", uint16(t))
}

// Feature bits that belong to the ring or the transport, not to a kind of device.
// virtio 1.2, section 6.
const (
	FeatureIndirectDesc     = 28 // VIRTIO_F_INDIRECT_DESC
	FeatureEventIdx         = 29 // VIRTIO_F_EVENT_IDX
	FeatureVersion1         = 32 // VIRTIO_F_VERSION_1
	FeatureAccessPlatform   = 33 // VIRTIO_F_ACCESS_PLATFORM
	FeatureRingPacked       = 34 // VIRTIO_F_RING_PACKED
	FeatureInOrder          = 35 // VIRTIO_F_IN_ORDER
	FeatureOrderPlatform    = 36 // VIRTIO_F_ORDER_PLATFORM
	FeatureNotificationData = 38 // VIRTIO_F_NOTIFICATION_DATA
	FeatureRingReset        = 40 // VIRTIO_F_RING_RESET
)

// RingFeatures is what package queue can serve: devices offer it beside their own
// bits.
const RingFeatures uint64 = 1<<FeatureIndirectDesc | 1<<FeatureEventIdx

// Device status bits. virtio 1.2, section 2.1.
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)
