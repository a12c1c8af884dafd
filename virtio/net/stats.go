package net

import (
	"fmt"
	"sync/atomic"
)

// Drop is why a frame was dropped.
type Drop int

// The reasons. A frame that the tap's queue had no room for, because the guest took none, the kernel counts
// (rx_dropped of the link).
const (
	DropShort     Drop = iota // shorter than its header and an Ethernet header
	DropLong                  // longer than any backend takes
	DropMalformed             // with a header that makes no sense to the backend
	DropDown                  // sent to a link that is down
	DropFull                  // the backend has no room
	DropFiltered              // not for this card: see VIRTIO_NET_F_CTRL_RX
	DropTruncated             // longer than the buffer that the driver gave
	drops
)

var dropNames = [drops]string{"short", "long", "malformed", "link down", "full", "filtered", "truncated"}

func (d Drop) String() string { return dropNames[d] }

// Stats are what passed in one direction since the card was made.
type Stats struct {
	Packets uint64          `json:"packets"`
	Bytes   uint64          `json:"bytes"` // of frames, without the header
	Drops   map[Drop]uint64 `json:"drops,omitempty"`
}

// MarshalText makes a reason the key of a JSON object.
func (d Drop) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the other way.
func (d *Drop) UnmarshalText(text []byte) error {
	for i, name := range dropNames {
		if name == string(text) {
			*d = Drop(i)
			return nil
		}
	}
	return fmt.Errorf("virtio/net: %q is no reason to drop a frame", text)
}

type counters struct {
	packets, bytes atomic.Uint64
	drops          [drops]atomic.Uint64
}

type pairStats struct {
	transmit, receive counters
}

func (c *counters) moved(n int) {
	c.packets.Add(1)
	c.bytes.Add(uint64(n))
}

func (c *counters) drop(why Drop) { c.drops[why].Add(1) }

func (c *counters) snapshot() Stats {
	s := Stats{Packets: c.packets.Load(), Bytes: c.bytes.Load()}
	for i := range c.drops {
		if n := c.drops[i].Load(); n != 0 {
			if s.Drops == nil {
				s.Drops = make(map[Drop]uint64)
			}
			s.Drops[Drop(i)] = n
		}
	}
	return s
}

// Stats gives what a queue pair sent and received, of what this package served. It may be called at any time.
func (d *Device) Stats(pair int) (transmit, receive Stats) {
	return d.stats[pair].transmit.snapshot(), d.stats[pair].receive.snapshot()
}
