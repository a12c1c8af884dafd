package net

// Feature bits. virtio 1.2, section 5.1.3.
const (
	FeatureCSum              = 0  // VIRTIO_NET_F_CSUM: the driver may leave checksums to be done
	FeatureGuestCSum         = 1  // VIRTIO_NET_F_GUEST_CSUM: so may the device
	FeatureCtrlGuestOffloads = 2  // VIRTIO_NET_F_CTRL_GUEST_OFFLOADS
	FeatureMTU               = 3  // VIRTIO_NET_F_MTU
	FeatureMAC               = 5  // VIRTIO_NET_F_MAC
	FeatureGuestTSO4         = 7  // VIRTIO_NET_F_GUEST_TSO4: the driver takes segments to be cut
	FeatureGuestTSO6         = 8  // VIRTIO_NET_F_GUEST_TSO6
	FeatureGuestECN          = 9  // VIRTIO_NET_F_GUEST_ECN
	FeatureGuestUFO          = 10 // VIRTIO_NET_F_GUEST_UFO
	FeatureHostTSO4          = 11 // VIRTIO_NET_F_HOST_TSO4: the driver may send them
	FeatureHostTSO6          = 12 // VIRTIO_NET_F_HOST_TSO6
	FeatureHostECN           = 13 // VIRTIO_NET_F_HOST_ECN
	FeatureHostUFO           = 14 // VIRTIO_NET_F_HOST_UFO
	FeatureMergeable         = 15 // VIRTIO_NET_F_MRG_RXBUF
	FeatureStatus            = 16 // VIRTIO_NET_F_STATUS
	FeatureCtrlVQ            = 17 // VIRTIO_NET_F_CTRL_VQ
	FeatureCtrlRX            = 18 // VIRTIO_NET_F_CTRL_RX
	FeatureCtrlVLAN          = 19 // VIRTIO_NET_F_CTRL_VLAN
	FeatureCtrlRXExtra       = 20 // VIRTIO_NET_F_CTRL_RX_EXTRA
	FeatureGuestAnnounce     = 21 // VIRTIO_NET_F_GUEST_ANNOUNCE
	FeatureMQ                = 22 // VIRTIO_NET_F_MQ
	FeatureCtrlMACAddr       = 23 // VIRTIO_NET_F_CTRL_MAC_ADDR
	FeatureGuestUSO4         = 54 // VIRTIO_NET_F_GUEST_USO4 (virtio 1.3)
	FeatureGuestUSO6         = 55 // VIRTIO_NET_F_GUEST_USO6
	FeatureHostUSO           = 56 // VIRTIO_NET_F_HOST_USO
	FeatureSpeedDuplex       = 63 // VIRTIO_NET_F_SPEED_DUPLEX
)

// The offloads: who may leave what undone, to be done by the other end.
const (
	// GuestOffloads are what the driver takes. It may change them later (VIRTIO_NET_F_CTRL_GUEST_OFFLOADS).
	GuestOffloads uint64 = 1<<FeatureGuestCSum | 1<<FeatureGuestTSO4 | 1<<FeatureGuestTSO6 | 1<<FeatureGuestECN |
		1<<FeatureGuestUFO | 1<<FeatureGuestUSO4 | 1<<FeatureGuestUSO6
	// HostOffloads are what the device takes.
	HostOffloads uint64 = 1<<FeatureCSum | 1<<FeatureHostTSO4 | 1<<FeatureHostTSO6 | 1<<FeatureHostECN |
		1<<FeatureHostUFO | 1<<FeatureHostUSO

	// guestSegments are those of GuestOffloads that make long frames.
	guestSegments = GuestOffloads &^ (1<<FeatureGuestCSum | 1<<FeatureGuestECN)
)

// control are the features that this package serves by itself, whoever serves the data queues.
const control uint64 = 1<<FeatureCtrlVQ | 1<<FeatureCtrlRX | 1<<FeatureCtrlVLAN | 1<<FeatureCtrlRXExtra |
	1<<FeatureGuestAnnounce | 1<<FeatureCtrlMACAddr

// requirements says which feature needs which: virtio 1.2, section 5.1.3.1. A driver that accepts a feature without the
// one that it needs is at fault, and the feature is left out.
var requirements = []struct{ feature, needs uint }{
	{FeatureGuestTSO4, FeatureGuestCSum},
	{FeatureGuestTSO6, FeatureGuestCSum},
	{FeatureGuestUFO, FeatureGuestCSum},
	{FeatureGuestUSO4, FeatureGuestCSum},
	{FeatureGuestUSO6, FeatureGuestCSum},
	{FeatureHostTSO4, FeatureCSum},
	{FeatureHostTSO6, FeatureCSum},
	{FeatureHostUFO, FeatureCSum},
	{FeatureHostUSO, FeatureCSum},
	{FeatureCtrlRX, FeatureCtrlVQ},
	{FeatureCtrlVLAN, FeatureCtrlVQ},
	{FeatureGuestAnnounce, FeatureCtrlVQ},
	{FeatureMQ, FeatureCtrlVQ},
	{FeatureCtrlMACAddr, FeatureCtrlVQ},
	{FeatureCtrlGuestOffloads, FeatureCtrlVQ},
	{FeatureCtrlRXExtra, FeatureCtrlRX},
}

// consistent leaves out of features those that need another which is not there. One of ECN's two (either TSO) is enough.
func consistent(features uint64) uint64 {
	const tso = 1<<FeatureGuestTSO4 | 1<<FeatureGuestTSO6
	const hostTSO = 1<<FeatureHostTSO4 | 1<<FeatureHostTSO6
	for _, r := range requirements {
		if features&(1<<r.needs) == 0 {
			features &^= 1 << r.feature
		}
	}
	if features&tso == 0 {
		features &^= 1 << FeatureGuestECN
	}
	if features&hostTSO == 0 {
		features &^= 1 << FeatureHostECN
	}
	return features
}
