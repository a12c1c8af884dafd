package backend

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"tandem/vhost/dirty"
	"tandem/vhost/user"
	"tandem/vhost/user/inflight"
	"tandem/virtio"
	"tandem/virtio/memory"
)

// protocolFeatures is what a server can do of the protocol. CONFIG is not for network
// devices: their front-ends answer for the configuration space.
const protocolFeatures = user.ProtocolFeatures(1<<user.ProtocolMQ | 1<<user.ProtocolLogSHMFD | 1<<user.ProtocolReplyAck | 1<<user.ProtocolBackendReq |
	1<<user.ProtocolConfig | 1<<user.ProtocolInflightSHMFD | 1<<user.ProtocolResetDevice |
	1<<user.ProtocolConfigureMemSlots | 1<<user.ProtocolStatus)

// maxSlots is how many memory regions a front-end can have with CONFIGURE_MEM_SLOTS.
const maxSlots = 64

// Why a request is refused that is well-formed.
var (
	errNotAgreed = errors.New("not agreed upon")
	errNoRing    = errors.New("no such ring")
)

// session is what one front-end set up. One goroutine runs it; what the device's
// goroutines use too says so.
type session struct {
	server *Server
	dev    virtio.Device
	conn   *user.Conn

	features uint64
	agreed   bool // SET_FEATURES came
	status   uint8

	table    table
	rings    []*ring
	active   bool // the device is
	inflight *inflight.Area
	log      *dirty.Log // nil for none

	protocol atomic.Uint64             // what was agreed upon of it
	failed   atomic.Bool               // the device, since it was activated
	channel  atomic.Pointer[user.Conn] // for our own requests
	config   sync.RWMutex              // see virtio.Activation.UpdateConfig
}

func newSession(server *Server, conn *user.Conn) *session {
	s := &session{server: server, dev: server.dev, conn: conn}
	for i := range server.sizes {
		s.rings = append(s.rings, newRing(s, i))
	}
	return s
}

// run carries out messages until the front-end closes the connection.
func (s *session) run() error {
	for {
		m, err := s.conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.handle(m); err != nil {
			return err
		}
	}
}

// handle carries out one message and answers it. An error ends the session: a
// request that is refused, and whose sender did not ask whether it was.
//
// Any step may touch memory that the front-end took away.
func (s *session) handle(m *user.Message) error {
	defer m.CloseFDs()
	r := user.Request(m.Request)
	var a answer
	p, err := m.Decode()
	if err == nil {
		if fault := memory.Guard(func() { err = s.carryOut(r, p, m, &a) }); fault != nil {
			return fmt.Errorf("%v: %w", r, fault)
		}
		if err != nil {
			err = fmt.Errorf("%v: %w", r, err)
		}
	}
	replies := r.Replies(user.ProtocolFeatures(s.protocol.Load()))
	acked := m.WantsAck() && s.has(user.ProtocolReplyAck) && (!replies || r == user.SetLogBase)
	switch {
	case acked && err != nil:
		s.server.report(fmt.Errorf("backend: refuse %w", err))
		return s.conn.Answer(m, user.U64(1))
	case acked:
		return s.conn.Answer(m, user.U64(0))
	case err != nil:
		return err
	case replies:
		return s.conn.Answer(m, a.payload, a.fds...)
	}
	return nil
}

// answer is what goes back to a request that has a reply of its own. The descriptors
// stay whose they are.
type answer struct {
	payload user.Payload
	fds     []int
}

// end stops the device and gives back all that the front-end sent.
func (s *session) end() {
	s.stopAll()
	for _, r := range s.rings {
		r.close()
	}
	s.table.unmapAll()
	s.dropInflight()
	s.dropLog()
	s.setChannel(nil)
}

func (s *session) dropInflight() {
	if s.inflight != nil {
		s.inflight.Close()
		s.inflight = nil
	}
}

// fail is virtio.Activation.Fail: the device cannot go on. It is called in the
// device's goroutines.
func (s *session) fail(err error) {
	if s.failed.Swap(true) {
		return
	}
	s.server.report(fmt.Errorf("backend: %v failed: %w", s.dev.Type(), err))
	for _, r := range s.rings {
		r.signalError()
	}
}

// updateConfig is virtio.Activation.UpdateConfig.
func (s *session) updateConfig(change func()) {
	s.config.Lock()
	change()
	s.config.Unlock()
	if s.has(user.ProtocolConfig) {
		s.sendOnChannel(user.BackendConfigChange, nil)
	}
}

// has tells whether a protocol feature was agreed upon. Any goroutine may ask.
func (s *session) has(f user.ProtocolFeature) bool {
	return user.ProtocolFeatures(s.protocol.Load()).Has(f)
}

// offered is what GET_FEATURES answers.
func (s *session) offered() uint64 {
	return s.dev.Features() | 1<<virtio.FeatureVersion1 | 1<<user.FeatureProtocol | 1<<user.FeatureLogAll
}

func (s *session) offeredProtocol() user.ProtocolFeatures {
	f := protocolFeatures
	if s.dev.Type() == virtio.TypeNet {
		f &^= user.Protocol(user.ProtocolConfig)
	}
	if s.server.opt.InBand {
		f |= user.Protocol(user.ProtocolInbandNotifications)
	}
	return f
}
