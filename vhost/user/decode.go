package user

import (
	"errors"
	"fmt"
)

// What may be wrong with a message. Each is wrapped in a ProtocolError.
var (
	ErrVersion     = errors.New("not version 1 of the protocol")
	ErrFlags       = errors.New("wrong flags")
	ErrUnknown     = errors.New("unknown request")
	ErrSize        = errors.New("wrong size")
	ErrDescriptors = errors.New("wrong number of descriptors")
	ErrValue       = errors.New("a value that the protocol does not allow")
)

// ProtocolError says what was wrong with which message.
type ProtocolError struct {
	Op      string // "receive", "decode"
	Message string // "SET_MEM_TABLE", "reply to GET_CONFIG"
	Detail  string // the value
	Err     error  // one of the above, or a socket's
}

func (e *ProtocolError) Error() string {
	s := fmt.Sprintf("user: %s %s: %v", e.Op, e.Message, e.Err)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (e *ProtocolError) Unwrap() error { return e.Err }

// Decode takes a front-end's request apart, and checks its size and how many
// descriptors came with it. Payloads that refer to bytes (Config, Raw) refer to m's.
func (m *Message) Decode() (Payload, error) {
	r := Request(m.Request)
	f, ok := requests[r]
	if !ok {
		return nil, wrong(r.String(), ErrUnknown, "")
	}
	if m.Reply() {
		return nil, wrong(r.String(), ErrFlags, "a reply in place of a request")
	}
	return decode(f.name, f.body, f.fds, m)
}

// DecodeReply takes the reply to a front-end's request apart. acked tells that the
// request asked for an acknowledgement (REPLY_ACK): the payload is a U64 then, for
// requests without a reply of their own.
func (m *Message) DecodeReply(to Request, acked bool) (Payload, error) {
	f, ok := requests[to]
	name := "reply to " + to.String()
	switch {
	case !ok:
		return nil, wrong(name, ErrUnknown, "")
	case Request(m.Request) != to:
		return nil, wrong(name, ErrValue, "it is for "+Request(m.Request).String())
	case !m.Reply():
		return nil, wrong(name, ErrFlags, "a request in place of a reply")
	case f.replies:
		return decode(name, f.reply, f.replyFDs, m)
	case to == SetLogBase && !acked:
		return decodeLogReply(name, m)
	case acked:
		return decode(name, bodyU64, none, m)
	}
	return nil, wrong(name, ErrUnknown, "nobody asked for one")
}

// DecodeBackend takes a back-end's request apart.
func (m *Message) DecodeBackend() (Payload, error) {
	r := BackendRequest(m.Request)
	f, ok := backendRequests[r]
	if !ok {
		return nil, wrong(r.String(), ErrUnknown, "")
	}
	if m.Reply() {
		return nil, wrong(r.String(), ErrFlags, "a reply in place of a request")
	}
	return decode(f.name, f.body, f.fds, m)
}

// Replies tells whether a request has a reply of its own, whatever REPLY_ACK says, under the protocol that was agreed
// upon.
func (r Request) Replies(agreed ProtocolFeatures) bool {
	return requests[r].replies || r == SetLogBase && agreed.Has(ProtocolLogSHMFD)
}

// decodeLogReply takes the reply to a SET_LOG_BASE of shared memory. The specification does not say what is in it:
// libvhost-user's is a number without a meaning, DPDK's is empty.
func decodeLogReply(name string, m *Message) (Payload, error) {
	if len(m.Payload) == 0 {
		return decode(name, bodyNone, none, m)
	}
	return decode(name, bodyU64, none, m)
}

func wrong(name string, err error, detail string) error {
	return &ProtocolError{Op: "decode", Message: name, Detail: detail, Err: err}
}

func wrongf(name string, err error, format string, args ...any) error {
	return wrong(name, err, fmt.Sprintf(format, args...))
}

func decode(name string, kind body, fds count, m *Message) (Payload, error) {
	p, n := m.Payload, len(m.Payload)
	size := func(want int) error {
		if n != want {
			return wrongf(name, ErrSize, "%d bytes, want %d", n, want)
		}
		return nil
	}
	var (
		v    Payload
		err  error
		want int // descriptors
	)
	switch kind {
	case bodyNone:
		err = size(0)
	case bodyU64:
		if err = size(sizeU64); err == nil {
			v = U64(order.Uint64(p))
		}
	case bodyState:
		if err = size(sizeState); err == nil {
			v = VringState{order.Uint32(p), order.Uint32(p[4:])}
		}
	case bodyAddr:
		if err = size(sizeAddr); err == nil {
			v = VringAddr{
				order.Uint32(p), order.Uint32(p[4:]),
				order.Uint64(p[8:]), order.Uint64(p[16:]), order.Uint64(p[24:]), order.Uint64(p[32:]),
			}
		}
	case bodyFD:
		if err = size(sizeU64); err == nil {
			u := order.Uint64(p)
			v = VringFD{Index: uint8(u), None: u&fdNone != 0}
			if u&fdNone == 0 {
				want = 1
			}
		}
	case bodyMemory:
		var t MemoryTable
		t, err = decodeTable(name, p)
		v, want = t, len(t)
	case bodyRegion:
		if err = size(sizeU64 + sizeRegion); err == nil {
			v = decodeRegion(p[sizeU64:])
		}
	case bodyLog:
		switch n {
		case sizeU64:
			v = U64(order.Uint64(p))
		case sizeLog:
			v = Log{order.Uint64(p), order.Uint64(p[8:])}
		default:
			err = size(sizeLog)
		}
	case bodyIOTLB:
		if err = size(sizeIOTLB); err == nil {
			v = IOTLB{order.Uint64(p), order.Uint64(p[8:]), order.Uint64(p[16:]), p[24], p[25]}
		}
	case bodyConfig:
		v, err = decodeConfig(name, p, m.Reply())
	case bodyInflight:
		if n != sizeInflight && n != sizeInflight-4 {
			err = size(sizeInflight)
		} else {
			v = Inflight{order.Uint64(p), order.Uint64(p[8:]), order.Uint16(p[16:]), order.Uint16(p[18:])}
		}
	case bodyArea:
		if err = size(sizeArea); err == nil {
			v = VringArea{order.Uint64(p), order.Uint64(p[8:]), order.Uint64(p[16:])}
		}
	case bodyRaw:
		v = Raw(p)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case fds == one:
		want = 1
	case fds == maybe && len(m.FDs) == 1:
		want = 1
	}
	if len(m.FDs) != want {
		return nil, wrongf(name, ErrDescriptors, "%d, want %d", len(m.FDs), want)
	}
	return v, nil
}

func decodeTable(name string, p []byte) (MemoryTable, error) {
	if len(p) < sizeTable {
		return nil, wrongf(name, ErrSize, "%d bytes, want at least %d", len(p), sizeTable)
	}
	n := order.Uint32(p)
	if n > MaxRegions {
		return nil, wrongf(name, ErrValue, "%d regions, at most %d", n, MaxRegions)
	}
	if want := sizeTable + int(n)*sizeRegion; len(p) != want {
		return nil, wrongf(name, ErrSize, "%d bytes, want %d for %d regions", len(p), want, n)
	}
	t := make(MemoryTable, n)
	for i := range t {
		t[i] = decodeRegion(p[sizeTable+i*sizeRegion:])
	}
	return t, nil
}

func decodeRegion(p []byte) MemoryRegion {
	return MemoryRegion{order.Uint64(p), order.Uint64(p[8:]), order.Uint64(p[16:]), order.Uint64(p[24:])}
}

// decodeConfig checks that the data are as many as the header says. A reply without
// any payload, or without data, says that there was an error.
func decodeConfig(name string, p []byte, reply bool) (Payload, error) {
	if reply && len(p) == 0 {
		return Config{}, nil
	}
	if len(p) < sizeConfig {
		return nil, wrongf(name, ErrSize, "%d bytes, want at least %d", len(p), sizeConfig)
	}
	c := Config{order.Uint32(p), order.Uint32(p[4:]), order.Uint32(p[8:]), p[sizeConfig:]}
	switch {
	case reply && len(c.Data) == 0:
	case c.Size == 0 || c.Size > MaxConfig || c.Offset > MaxConfig || c.Offset+c.Size > MaxConfig:
		return nil, wrongf(name, ErrValue, "%d bytes at %d, the space has at most %d", c.Size, c.Offset, MaxConfig)
	case int(c.Size) != len(c.Data):
		return nil, wrongf(name, ErrSize, "%d bytes of configuration, the header says %d", len(c.Data), c.Size)
	}
	return c, nil
}
