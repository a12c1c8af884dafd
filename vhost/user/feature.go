package user

import (
	"fmt"
	"math/bits"
	"strings"
)

// Feature bits that only the two ends of the protocol see: a guest's driver is never
// offered them.
const (
	// FeatureLogAll is VHOST_F_LOG_ALL: mark the pages that the device writes.
	FeatureLogAll = 26
	// FeatureProtocol is VHOST_USER_F_PROTOCOL_FEATURES: there is a second set of
	// features, those of the protocol, and rings begin disabled.
	FeatureProtocol = 30
)

// ProtocolFeature is a bit of what the two ends agree upon about the protocol.
type ProtocolFeature uint

// VHOST_USER_PROTOCOL_F_*.
const (
	ProtocolMQ                  ProtocolFeature = 0
	ProtocolLogSHMFD            ProtocolFeature = 1
	ProtocolRARP                ProtocolFeature = 2
	ProtocolReplyAck            ProtocolFeature = 3
	ProtocolMTU                 ProtocolFeature = 4
	ProtocolBackendReq          ProtocolFeature = 5
	ProtocolCrossEndian         ProtocolFeature = 6
	ProtocolCryptoSession       ProtocolFeature = 7
	ProtocolPagefault           ProtocolFeature = 8
	ProtocolConfig              ProtocolFeature = 9
	ProtocolBackendSendFD       ProtocolFeature = 10
	ProtocolHostNotifier        ProtocolFeature = 11
	ProtocolInflightSHMFD       ProtocolFeature = 12
	ProtocolResetDevice         ProtocolFeature = 13
	ProtocolInbandNotifications ProtocolFeature = 14
	ProtocolConfigureMemSlots   ProtocolFeature = 15
	ProtocolStatus              ProtocolFeature = 16
	ProtocolXenMMap             ProtocolFeature = 17
	ProtocolSharedObject        ProtocolFeature = 18
	ProtocolDeviceState         ProtocolFeature = 19
)

var protocolNames = [...]string{
	"MQ", "LOG_SHMFD", "RARP", "REPLY_ACK", "NET_MTU", "BACKEND_REQ", "CROSS_ENDIAN", "CRYPTO_SESSION", "PAGEFAULT",
	"CONFIG", "BACKEND_SEND_FD", "HOST_NOTIFIER", "INFLIGHT_SHMFD", "RESET_DEVICE", "INBAND_NOTIFICATIONS",
	"CONFIGURE_MEM_SLOTS", "STATUS", "XEN_MMAP", "SHARED_OBJECT", "DEVICE_STATE",
}

func (f ProtocolFeature) String() string {
	if int(f) < len(protocolNames) {
		return protocolNames[f]
	}
	return fmt.Sprintf("bit %d", uint(f))
}

// ProtocolFeatures is a set of them, as it goes over the wire.
type ProtocolFeatures uint64

// Protocol makes a set.
func Protocol(list ...ProtocolFeature) (set ProtocolFeatures) {
	for _, f := range list {
		set |= 1 << f
	}
	return set
}

// Has tells whether a feature is in the set.
func (s ProtocolFeatures) Has(f ProtocolFeature) bool { return s&(1<<f) != 0 }

func (s ProtocolFeatures) String() string {
	var names []string
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		names = append(names, ProtocolFeature(bits.TrailingZeros64(rest)).String())
	}
	return strings.Join(names, ",")
}
