package backend

import (
	"fmt"

	"tandem/vhost/user"
	"tandem/vhost/user/inflight"
	"tandem/virtio"
	"tandem/virtio/queue"
)

// needs says which protocol feature a request belongs to. Those of features that are
// never offered are refused by the same table, by name.
var needs = map[user.Request]user.ProtocolFeature{
	user.SetLogBase:          user.ProtocolLogSHMFD,
	user.SetLogFD:            user.ProtocolLogSHMFD,
	user.GetQueueNum:         user.ProtocolMQ,
	user.SendRARP:            user.ProtocolRARP,
	user.NetSetMTU:           user.ProtocolMTU,
	user.SetBackendReqFD:     user.ProtocolBackendReq,
	user.SetVringEndian:      user.ProtocolCrossEndian,
	user.GetConfig:           user.ProtocolConfig,
	user.SetConfig:           user.ProtocolConfig,
	user.CreateCryptoSession: user.ProtocolCryptoSession,
	user.CloseCryptoSession:  user.ProtocolCryptoSession,
	user.PostcopyAdvise:      user.ProtocolPagefault,
	user.PostcopyListen:      user.ProtocolPagefault,
	user.PostcopyEnd:         user.ProtocolPagefault,
	user.GetInflightFD:       user.ProtocolInflightSHMFD,
	user.SetInflightFD:       user.ProtocolInflightSHMFD,
	user.ResetDevice:         user.ProtocolResetDevice,
	user.VringKick:           user.ProtocolInbandNotifications,
	user.GetMaxMemSlots:      user.ProtocolConfigureMemSlots,
	user.AddMemReg:           user.ProtocolConfigureMemSlots,
	user.RemMemReg:           user.ProtocolConfigureMemSlots,
	user.SetStatus:           user.ProtocolStatus,
	user.GetStatus:           user.ProtocolStatus,
	user.GetSharedObject:     user.ProtocolSharedObject,
	user.SetDeviceStateFD:    user.ProtocolDeviceState,
	user.CheckDeviceState:    user.ProtocolDeviceState,
}

// carryOut does what a request asks for.
func (s *session) carryOut(r user.Request, p user.Payload, m *user.Message, a *answer) error {
	if f, ok := needs[r]; ok && !s.has(f) {
		return fmt.Errorf("protocol feature %v: %w", f, errNotAgreed)
	}
	switch p := p.(type) {
	case user.VringState:
		return s.onRing(p.Index, func(ring *ring) error { return s.setRing(r, ring, p.Num, a) })
	case user.VringFD:
		return s.onRing(uint32(p.Index), func(ring *ring) error { return ring.setFD(r, m.TakeFD(0)) })
	case user.VringAddr:
		return s.onRing(p.Index, func(ring *ring) error { return s.setAddr(ring, p) })
	case user.MemoryTable:
		return s.setMemory(p, m)
	case user.MemoryRegion:
		return s.changeMemory(r, p, m)
	case user.Config:
		return s.accessConfig(r, p, a)
	case user.Inflight:
		return s.setInflight(r, p, m, a)
	case user.Log:
		return s.setLog(p, m, a)
	case user.U64:
		if r == user.SetLogBase {
			return s.setLog(p, m, a)
		}
		return s.setNumber(r, uint64(p))
	case nil:
		return s.plain(r, m, a)
	}
	return fmt.Errorf("not supported")
}

// plain carries out the requests that have no payload.
func (s *session) plain(r user.Request, m *user.Message, a *answer) error {
	switch r {
	case user.GetFeatures:
		a.payload = user.U64(s.offered())
	case user.GetProtocolFeatures:
		a.payload = user.U64(s.offeredProtocol())
	case user.GetQueueNum:
		n := len(s.rings)
		if s.dev.Type() == virtio.TypeNet {
			n /= 2 // pairs
		}
		a.payload = user.U64(n)
	case user.GetMaxMemSlots:
		a.payload = user.U64(maxSlots)
	case user.GetStatus:
		status := s.status
		if s.failed.Load() {
			status |= virtio.StatusNeedsReset
		}
		a.payload = user.U64(status)
	case user.SetOwner: // it began with the connection
	case user.ResetOwner:
		// Deprecated; the specification has it disable all rings, or nothing.
		for _, ring := range s.rings {
			ring.enabled = false
		}
		return s.apply()
	case user.ResetDevice:
		s.reset()
	case user.SetBackendReqFD:
		channel, err := user.AdoptConn(m.TakeFD(0))
		if err != nil {
			return err
		}
		s.setChannel(channel)
	default:
		return fmt.Errorf("not supported")
	}
	return nil
}

// setNumber carries out the requests that are a number.
func (s *session) setNumber(r user.Request, v uint64) error {
	switch r {
	case user.SetFeatures:
		if extra := v &^ s.offered(); extra != 0 {
			return fmt.Errorf("features %#x were not offered", extra)
		}
		if s.agreed && s.features == v {
			return nil
		}
		s.stopAll() // those that run were made with other features
		s.features, s.agreed = v, true
		return s.apply()
	case user.SetProtocolFeatures:
		set := user.ProtocolFeatures(v)
		if extra := set &^ s.offeredProtocol(); extra != 0 {
			return fmt.Errorf("protocol features %v were not offered", extra)
		}
		needed := user.Protocol(user.ProtocolBackendReq, user.ProtocolReplyAck)
		if set.Has(user.ProtocolInbandNotifications) && set&needed != needed {
			return fmt.Errorf("protocol features %v: INBAND_NOTIFICATIONS needs %v", set, needed)
		}
		s.protocol.Store(v)
	case user.SetStatus:
		s.status = uint8(v)
		if s.status == 0 {
			s.reset()
		}
	default:
		return fmt.Errorf("not supported")
	}
	return nil
}

// reset makes the rings and the device as they were at first. Memory stays, and so
// do features: the front-end sends new ones before it starts anything.
func (s *session) reset() {
	s.stopAll()
	for _, r := range s.rings {
		r.reset()
	}
	s.dropInflight()
	s.failed.Store(false)
}

func (s *session) onRing(i uint32, do func(*ring) error) error {
	if i >= uint32(len(s.rings)) {
		return fmt.Errorf("ring %d: %w", i, errNoRing)
	}
	if err := do(s.rings[i]); err != nil {
		return fmt.Errorf("ring %d: %w", i, err)
	}
	return s.apply()
}

// setRing carries out the requests that are a number for a ring.
func (s *session) setRing(r user.Request, ring *ring, v uint32, a *answer) error {
	switch r {
	case user.SetVringNum:
		if v == 0 || v > queue.MaxSize || v&(v-1) != 0 {
			return fmt.Errorf("size %d: not a power of two up to %d", v, queue.MaxSize)
		}
		s.stopRing(ring)
		ring.size = uint16(v)
	case user.SetVringBase:
		if v > 0xffff {
			return fmt.Errorf("base %#x: not an index", v)
		}
		s.stopRing(ring)
		ring.base = uint16(v)
	case user.GetVringBase:
		s.stopRing(ring)
		ring.dropKick()
		a.payload = user.VringState{Index: uint32(ring.index), Num: uint32(ring.base)}
	case user.SetVringEnable:
		if v > 1 {
			return fmt.Errorf("enable %d: neither 0 nor 1", v)
		}
		ring.enabled = v == 1
	case user.VringKick:
		return ring.kickInBand()
	default:
		return fmt.Errorf("not supported")
	}
	return nil
}

// setAddr says where a ring is. Front-ends repeat it for a ring that runs, to change
// its flags.
func (s *session) setAddr(ring *ring, v user.VringAddr) error {
	if v.Flags&^user.VringLog != 0 || v.Flags != 0 && !s.has(user.ProtocolLogSHMFD) {
		return fmt.Errorf("flags %#x: %w", v.Flags, errNotAgreed)
	}
	if ring.hasAddr && ring.addr == v {
		return nil
	}
	s.stopRing(ring)
	ring.addr, ring.hasAddr = v, true
	return nil
}

func (s *session) accessConfig(r user.Request, c user.Config, a *answer) error {
	if r == user.SetConfig {
		s.dev.WriteConfig(c.Offset, c.Data)
		return nil
	}
	data := make([]byte, c.Size)
	s.config.RLock()
	defer s.config.RUnlock()
	s.dev.ReadConfig(c.Offset, data)
	c.Data = data
	a.payload = c
	return nil
}

// setInflight makes or takes the area for requests in flight.
func (s *session) setInflight(r user.Request, d user.Inflight, m *user.Message, a *answer) error {
	if int(d.Queues) > len(s.rings) || d.QueueSize > queue.MaxSize {
		return fmt.Errorf("an area for %d queues of %d: %w", d.Queues, d.QueueSize, inflight.ErrLayout)
	}
	var area *inflight.Area
	var err error
	if r == user.GetInflightFD {
		area, err = inflight.New(d.Queues, d.QueueSize)
	} else {
		area, err = inflight.Open(m.TakeFD(0), d)
	}
	if err != nil {
		return err
	}
	if r == user.GetInflightFD {
		a.payload = area.Description()
		a.fds = []int{int(area.File().Fd())}
	}
	s.stopAll()
	s.dropInflight()
	s.inflight = area
	return s.apply()
}
