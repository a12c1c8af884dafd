package vsock

// Stats are what happened since the device was made. Packets and bytes are those that this package served; bytes are of
// streams, without headers.
type Stats struct {
	Open      int    `json:"open"`      // connections at this moment, with those that are about to be or to end
	FromHost  uint64 `json:"fromHost"`  // connections that the host asked for
	FromGuest uint64 `json:"fromGuest"` // connections that the guest asked for
	Refused   uint64 `json:"refused"`   // of both, those that came to nothing

	ToGuestPackets   uint64 `json:"toGuestPackets"`
	ToGuestBytes     uint64 `json:"toGuestBytes"`
	FromGuestPackets uint64 `json:"fromGuestPackets"`
	FromGuestBytes   uint64 `json:"fromGuestBytes"`

	ResetsSent     uint64          `json:"resetsSent"`
	ResetsReceived uint64          `json:"resetsReceived"`
	Drops          map[Drop]uint64 `json:"drops,omitempty"`
}

// Drop is why a packet of the guest's was dropped.
type Drop int

// The reasons. The connection that such a packet belongs to, if there is one, ends.
const (
	DropShort  Drop = iota // shorter than a header
	DropLength             // its header promises more bytes than there are
	DropSource             // not from the guest's CID
	DropCredit             // more bytes than the guest may send ahead, or a count of bytes that it never got
	DropState              // an operation that makes no sense at that moment, or that there is not
	drops
)

var dropNames = [drops]string{"short", "length", "source", "credit", "state"}

func (d Drop) String() string { return dropNames[d] }

// MarshalText makes a reason the key of a JSON object.
func (d Drop) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Stats may be called at any time. Where a Server serves the queues, it has nothing to tell.
func (d *Device) Stats() Stats {
	s := d.board
	if s == nil {
		return Stats{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stats
	now.Open = len(s.slots) - len(s.free)
	for i, n := range s.dropped {
		if n != 0 {
			if now.Drops == nil {
				now.Drops = make(map[Drop]uint64)
			}
			now.Drops[Drop(i)] = n
		}
	}
	return now
}
