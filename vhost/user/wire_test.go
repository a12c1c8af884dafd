package user

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// recorded reads messages that were sent by others.
func recorded(t testing.TB) (list []Message) {
	t.Helper()
	text, err := os.ReadFile("testdata/qemu-blk.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var code string
		var fds int
		if _, err := fmt.Sscan(line, &code, &fds); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		b, err := hex.DecodeString(code)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Message{
			Request: order.Uint32(b), Flags: order.Uint32(b[4:]), Payload: b[headerSize:], FDs: make([]int, fds),
		})
	}
	return list
}

// TestRecorded takes QEMU's messages apart and puts them together again.
func TestRecorded(t *testing.T) {
	list := recorded(t)
	if len(list) < 30 {
		t.Fatalf("%d messages", len(list))
	}
	for _, m := range list {
		p, err := m.Decode()
		if err != nil {
			t.Errorf("%x: %v", m.Payload, err)
			continue
		}
		var got []byte
		if p != nil {
			got = p.appendTo(nil)
		}
		if !bytes.Equal(got, m.Payload) {
			t.Errorf("%v: %+v became %x, was %x", Request(m.Request), p, got, m.Payload)
		}
	}
}

// payloads has one of each kind, for the request that it belongs to.
var payloads = []struct {
	request Request
	payload Payload
	fds     int
	bytes   string // without spaces
}{
	{GetFeatures, nil, 0, ""},
	{SetFeatures, U64(0x1122334455667788), 0, "8877665544332211"},
	{SetVringNum, VringState{1, 2}, 0, "01000000 02000000"},
	{
		SetVringAddr,
		VringAddr{1, 2, 3, 4, 5, 6},
		0,
		"01000000 02000000 0300000000000000 0400000000000000 0500000000000000 0600000000000000",
	},
	{SetVringKick, VringFD{Index: 255}, 1, "ff00000000000000"},
	{SetVringCall, VringFD{Index: 3, None: true}, 0, "0301000000000000"},
	{
		SetMemTable, MemoryTable{{1, 2, 3, 4}, {5, 6, 7, 8}}, 2, "02000000 00000000" +
			"0100000000000000 0200000000000000 0300000000000000 0400000000000000" +
			"0500000000000000 0600000000000000 0700000000000000 0800000000000000",
	},
	{SetMemTable, MemoryTable{}, 0, "0000000000000000"},
	{
		AddMemReg,
		MemoryRegion{1, 2, 3, 4},
		1,
		"0000000000000000 0100000000000000 0200000000000000 0300000000000000 0400000000000000",
	},
	{SetLogBase, Log{1, 2}, 1, "0100000000000000 0200000000000000"},
	{SetLogBase, U64(7), 0, "0700000000000000"},
	{
		IOTLBMsg,
		IOTLB{1, 2, 3, 4, 5},
		0,
		"0100000000000000 0200000000000000 0300000000000000 04 05 000000000000",
	},
	{GetConfig, Config{1, 3, 1, []byte("abc")}, 0, "01000000 03000000 01000000 616263"},
	{GetInflightFD, Inflight{1, 2, 3, 4}, 0, "0100000000000000 0200000000000000 0300 0400 00000000"},
}

func TestPayloads(t *testing.T) {
	for _, c := range payloads {
		want, err := hex.DecodeString(strings.ReplaceAll(c.bytes, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		m := Message{Request: uint32(c.request), Flags: version, Payload: want, FDs: make([]int, c.fds)}
		p, err := m.Decode()
		if err != nil || !reflect.DeepEqual(p, c.payload) {
			t.Errorf("%v: decoded %+v, %v, want %+v", c.request, p, err, c.payload)
		}
		if c.payload == nil {
			continue
		}
		if got := c.payload.appendTo(nil); !bytes.Equal(got, want) {
			t.Errorf("%v: %+v is %x, want %x", c.request, c.payload, got, want)
		}
	}
}

// TestWrong spoils each of them.
func TestWrong(t *testing.T) {
	for _, c := range payloads {
		b, _ := hex.DecodeString(strings.ReplaceAll(c.bytes, " ", ""))
		for _, w := range []struct {
			name string
			m    Message
			want error
		}{
			{"a byte more", Message{Payload: append(bytes.Clone(b), 0), FDs: make([]int, c.fds)}, ErrSize},
			{"a descriptor more", Message{Payload: b, FDs: make([]int, c.fds+1)}, ErrDescriptors},
			{"all descriptors", Message{Payload: b, FDs: make([]int, MaxFDs)}, ErrDescriptors},
			{"a reply", Message{Flags: flagReply, Payload: b, FDs: make([]int, c.fds)}, ErrFlags},
		} {
			if c.request == SetLogBase && w.name == "a descriptor more" && c.fds == 0 {
				continue // it may have one
			}
			w.m.Request = uint32(c.request)
			_, err := w.m.Decode()
			var pe *ProtocolError
			if !errors.Is(err, w.want) || !errors.As(err, &pe) || !strings.Contains(err.Error(), c.request.String()) {
				t.Errorf("%v with %s: error = %v, want %v", c.request, w.name, err, w.want)
			}
		}
		for n := range b {
			m := Message{Request: uint32(c.request), Payload: b[:n], FDs: make([]int, c.fds)}
			if _, err := m.Decode(); c.request != SetLogBase && c.request != GetInflightFD && !errors.Is(err, ErrSize) {
				t.Errorf("%v of %d bytes: error = %v, want ErrSize", c.request, n, err)
			}
		}
		if c.fds > 0 {
			m := Message{Request: uint32(c.request), Payload: b}
			if _, err := m.Decode(); c.request != SetLogBase && !errors.Is(err, ErrDescriptors) {
				t.Errorf("%v without descriptors: error = %v, want ErrDescriptors", c.request, err)
			}
		}
	}
	for name, m := range map[string]Message{
		"request 0":        {},
		"request 44":       {Request: 44},
		"request 0xffffff": {Request: 0xffffff},
	} {
		if _, err := m.Decode(); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: error = %v, want ErrUnknown", name, err)
		}
		if _, err := m.DecodeBackend(); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s of a back-end: error = %v, want ErrUnknown", name, err)
		}
	}
	for name, p := range map[string]Payload{
		"9 regions":             MemoryTable(make([]MemoryRegion, 9)),
		"no configuration":      Config{},
		"257 bytes":             Config{0, 257, 0, make([]byte, 257)},
		"beyond the space":      Config{255, 2, 0, make([]byte, 2)},
		"an offset that wraps":  Config{1<<32 - 1, 2, 0, make([]byte, 2)},
		"a size that wraps":     Config{2, 1<<32 - 1, 0, make([]byte, 2)},
		"more data than it has": Config{0, 1, 0, make([]byte, 2)},
	} {
		r := GetConfig
		if _, ok := p.(MemoryTable); ok {
			r = SetMemTable
		}
		m := Message{Request: uint32(r), Payload: p.appendTo(nil)}
		if _, err := m.Decode(); !errors.Is(err, ErrValue) && !errors.Is(err, ErrSize) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestReplies(t *testing.T) {
	number := U64(5).appendTo(nil)
	for _, c := range []struct {
		name string
		to   Request
		ack  bool
		m    Message
		want any // a Payload, or an error
	}{
		{"a number", GetFeatures, false, Message{Request: 1, Flags: 5, Payload: number}, U64(5)},
		{"an acknowledgement", SetMemTable, true, Message{Request: 5, Flags: 5, Payload: number}, U64(5)},
		{"one that nobody wanted", SetMemTable, false, Message{Request: 5, Flags: 5, Payload: number}, ErrUnknown},
		{"a request", GetFeatures, false, Message{Request: 1, Flags: 1, Payload: number}, ErrFlags},
		{"another's", GetFeatures, false, Message{Request: 2, Flags: 5, Payload: number}, ErrValue},
		{"short", GetFeatures, false, Message{Request: 1, Flags: 5, Payload: number[:7]}, ErrSize},
		{"with a descriptor", GetFeatures, false, Message{Request: 1, Flags: 5, Payload: number, FDs: []int{0}}, ErrDescriptors},
		{"an error", GetConfig, false, Message{Request: 24, Flags: 5}, Config{}},
		{"no such request", 99, false, Message{Request: 99, Flags: 5}, ErrUnknown},
	} {
		p, err := c.m.DecodeReply(c.to, c.ack)
		if want, ok := c.want.(error); ok {
			if !errors.Is(err, want) {
				t.Errorf("%s: error = %v, want %v", c.name, err, want)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(p, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, p, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	if got := SetBackendReqFD.String() + " " + Request(99).String(); got != "SET_BACKEND_REQ_FD request 99" {
		t.Error(got)
	}
	if got := BackendVringCall.String() + " " + BackendRequest(99).String(); got != "BACKEND_VRING_CALL back-end request 99" {
		t.Error(got)
	}
	if got := (Protocol(ProtocolMQ, ProtocolStatus) | 1<<40).String(); got != "MQ,STATUS,bit 40" {
		t.Error(got)
	}
	for r := Request(1); r <= CheckDeviceState; r++ {
		if requests[r].name == "" {
			t.Errorf("request %d has no name", r)
		}
	}
}

// pair is a connection, and the raw socket at its other end.
func pair(t testing.TB) (*Conn, *net.UnixConn) {
	t.Helper()
	c, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	peer, err := adoptSocket(dup(t, int(f.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	t.Cleanup(func() { peer.Close() })
	return c, peer
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// descriptors are as many files as wanted, closed with the test.
func descriptors(t testing.TB, n int) (list []int) {
	t.Helper()
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		list = append(list, fd)
	}
	return list
}

func message(request, flags, size uint32, payload []byte) []byte {
	b := order.AppendUint32(nil, request)
	b = order.AppendUint32(b, flags)
	return append(order.AppendUint32(b, size), payload...)
}

func TestSendAndReceive(t *testing.T) {
	a, peer := pair(t)
	b := NewConn(peer)
	fds := descriptors(t, 2)
	if err := a.Send(SetMemTable, true, MemoryTable{{1, 2, 3, 4}, {5, 6, 7, 8}}, fds...); err != nil {
		t.Fatal(err)
	}
	m, err := b.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := m.Decode(); err != nil || !m.WantsAck() || !reflect.DeepEqual(p, MemoryTable{{1, 2, 3, 4}, {5, 6, 7, 8}}) {
		t.Errorf("received %+v, %v", p, err)
	}
	for i := range fds {
		fd := m.TakeFD(i)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %#x, %v, want close-on-exec", i, flags, err)
		}
		unix.Close(fd)
	}
	if fd := m.TakeFD(2); fd != -1 {
		t.Errorf("a third descriptor: %d", fd)
	}
	if err := b.Answer(m, U64(0)); err != nil {
		t.Fatal(err)
	}
	m, err = a.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := m.DecodeReply(SetMemTable, true); err != nil || p != U64(0) {
		t.Errorf("reply %+v, %v", p, err)
	}
	if err := b.SendBackend(BackendConfigChange, false, nil); err != nil {
		t.Fatal(err)
	}
	if m, err = a.Receive(); err != nil {
		t.Fatal(err)
	}
	if p, err := m.DecodeBackend(); err != nil || p != nil || m.WantsAck() {
		t.Errorf("back-end's request %+v, %v", p, err)
	}
	b.Close()
	if _, err := a.Receive(); err != io.EOF {
		t.Errorf("after the end: %v, want EOF", err)
	}
	if err := a.Send(SetOwner, false, nil); err == nil || !strings.Contains(err.Error(), "user: send SET_OWNER") {
		t.Errorf("send to nobody: %v", err)
	}
}

// TestFragments has a message come byte by byte, its descriptors in several pieces.
func TestFragments(t *testing.T) {
	c, peer := pair(t)
	fds := descriptors(t, 3)
	b := message(uint32(SetVringNum), version, 8, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	for i := range b {
		var rights []byte
		switch i {
		case 0:
			rights = unix.UnixRights(fds[0])
		case 5:
			rights = unix.UnixRights(fds[1])
		case 15:
			rights = unix.UnixRights(fds[2])
		}
		if _, _, err := peer.WriteMsgUnix(b[i:i+1], rights, nil); err != nil {
			t.Fatal(err)
		}
	}
	m, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	defer m.CloseFDs()
	if len(m.FDs) != 3 || !bytes.Equal(m.Payload, b[12:]) {
		t.Errorf("received % x with %d descriptors", m.Payload, len(m.FDs))
	}
}

// TestBadFrames has what is no message end the connection, and leave no descriptor
// open: testenv.Main looks for that.
func TestBadFrames(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		fds  int
		want error
	}{
		{"half a header", message(1, version, 0, nil)[:7], 0, io.ErrUnexpectedEOF},
		{"half a payload", message(1, version, 8, []byte{1}), 1, io.ErrUnexpectedEOF},
		{"no payload", message(1, version, 8, nil), 1, io.ErrUnexpectedEOF},
		{"version 0", message(1, 0, 0, nil), 1, ErrVersion},
		{"version 2", message(1, 2, 0, nil), 1, ErrVersion},
		{"version 3", message(1, 3, 0, nil), 1, ErrVersion},
		{"a payload of 4 GiB", message(1, version, 1<<32-1, nil), 1, ErrSize},
		{"a payload too long", message(1, version, maxPayload+1, nil), 1, ErrSize},
		{"too many descriptors", message(1, version, 0, nil), 9, ErrDescriptors},
		{"far too many descriptors", message(1, version, 0, nil), 253, ErrDescriptors},
	} {
		c1, peer := pair(t)
		var rights []byte
		if c.fds > 0 {
			one := descriptors(t, 1)[0]
			list := make([]int, c.fds)
			for i := range list {
				list[i] = one
			}
			rights = unix.UnixRights(list...)
		}
		if _, _, err := peer.WriteMsgUnix(c.b, rights, nil); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		if _, err := c1.Receive(); !errors.Is(err, c.want) {
			t.Errorf("%s: error = %v, want %v", c.name, err, c.want)
		}
	}
}

func TestAdoptRefuses(t *testing.T) {
	for name, make := range map[string]func() int{
		"an eventfd": func() int { return dup(t, descriptors(t, 1)[0]) },
		"a TCP socket": func() int {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		},
		"nothing": func() int { return -1 },
	} {
		if c, err := AdoptConn(make()); err == nil {
			c.Close()
			t.Errorf("%s was adopted", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range recorded(f) {
		f.Add(m.Request, m.Flags, m.Payload, uint8(len(m.FDs)))
	}
	for r := range requests {
		f.Add(uint32(r), uint32(version|flagReply), []byte{1, 0, 0, 0, 0, 0, 0, 0}, uint8(0))
	}
	f.Fuzz(func(t *testing.T, request, flags uint32, payload []byte, fds uint8) {
		m := Message{Request: request, Flags: flags, Payload: payload, FDs: make([]int, fds%(MaxFDs+1))}
		check := func(what string, p Payload, err error) {
			if err != nil {
				var pe *ProtocolError
				if !errors.As(err, &pe) {
					t.Errorf("%s: error %v is no ProtocolError", what, err)
				}
				return
			}
			if p == nil {
				return
			}
			// What was understood can be said again, and means the same.
			again := Message{Request: request, Flags: flags, Payload: p.appendTo(nil), FDs: m.FDs}
			var q Payload
			switch what {
			case "request":
				q, err = again.Decode()
			case "reply":
				q, err = again.DecodeReply(Request(request), true)
			default:
				q, err = again.DecodeBackend()
			}
			if err != nil || !bytes.Equal(p.appendTo(nil), q.appendTo(nil)) || reflect.TypeOf(p) != reflect.TypeOf(q) {
				t.Errorf("%s %+v became %+v, %v", what, p, q, err)
			}
		}
		p, err := m.Decode()
		check("request", p, err)
		p, err = m.DecodeReply(Request(request), true)
		check("reply", p, err)
		p, err = m.DecodeBackend()
		check("back-end's request", p, err)
	})
}
