package net

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
)

// peekSize is as much of a frame as the filter looks at: its header, and a VLAN tag.
const peekSize = ethernetHeader + 4

// maxFilterMACs is how many addresses of each kind are looked for one by one. A driver that gives more gets all frames of
// that kind, which virtio 1.2, section 5.1.6.5.2 allows.
const maxFilterMACs = 64

// filter says which frames the driver wants. virtio 1.2, sections 5.1.6.5.1 to 3. It is not changed, but replaced.
type filter struct {
	mac       [6]byte
	haveMAC   bool
	promisc   bool // all
	allMulti  bool // all to groups
	allUni    bool // all to single cards
	manyMulti bool // all to groups, as the driver has named more than maxFilterMACs
	manyUni   bool // all to single cards, likewise
	noMulti   bool
	noUni     bool
	noBcast   bool
	unicast   [][6]byte
	multicast [][6]byte
	vlans     *[4096 / 64]uint64 // nil: all
}

// filterState is the filter in force: read by the receive queues' goroutines, changed by the control queue's.
type filterState struct {
	now atomic.Pointer[filter]
	mu  sync.Mutex // one change at a time
}

// reset is what a driver finds that has not said anything: it gets all.
func (s *filterState) reset(mac net.HardwareAddr) {
	f := &filter{promisc: true}
	if mac != nil {
		f.mac, f.haveMAC = [6]byte(mac), true
	}
	s.now.Store(f)
}

// follow adapts it to what was agreed on.
func (s *filterState) follow(features uint64) {
	if features&(1<<FeatureCtrlVLAN) != 0 {
		s.change(func(f *filter) { f.vlans = new([4096 / 64]uint64) })
	}
}

func (s *filterState) change(change func(*filter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := *s.now.Load()
	change(&f)
	s.now.Store(&f)
}

func (s *filterState) accepts(frame []byte) bool { return s.now.Load().accepts(frame) }

const vlanTag = 0x8100 // IEEE 802.1Q

func (f *filter) accepts(frame []byte) bool {
	if f.promisc {
		return true
	}
	if f.vlans != nil && len(frame) >= peekSize && binary.BigEndian.Uint16(frame[12:]) == vlanTag {
		id := binary.BigEndian.Uint16(frame[14:]) & 0xfff
		if f.vlans[id/64]&(1<<(id%64)) == 0 {
			return false
		}
	}
	to := [6]byte(frame)
	switch {
	case to == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return !f.noBcast
	case to[0]&1 != 0:
		return !f.noMulti && (f.allMulti || f.manyMulti || contains(f.multicast, to))
	}
	return !f.noUni && (f.allUni || f.manyUni || !f.haveMAC || to == f.mac || contains(f.unicast, to))
}

func contains(list [][6]byte, mac [6]byte) bool {
	for _, m := range list {
		if m == mac {
			return true
		}
	}
	return false
}
