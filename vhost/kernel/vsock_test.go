package kernel

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/virtio/virtiotest"
)

// packet is struct virtio_vsock_hdr. virtio 1.2, section 5.10.6.
type packet struct {
	SrcCID, DstCID   uint64
	SrcPort, DstPort uint32
	Len              uint32
	Type, Op         uint16
	Flags            uint32
	BufAlloc, FwdCnt uint32
}

const (
	packetLen  = 44
	opRequest  = 1
	opResponse = 2
	opRW       = 5
	typeStream = 1
)

func TestVsock(t *testing.T) {
	testenv.Need(t, testenv.VHostVsock)
	const cid = 4711
	v, err := OpenVsock(VsockSpec{CID: cid, Report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := OpenVsock(VsockSpec{CID: cid}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the same CID again: %v, want EADDRINUSE", err)
	}
	var config [8]byte
	if v.ReadConfig(0, config[:]); binary.LittleEndian.Uint64(config[:]) != cid {
		t.Errorf("configuration = %x", config)
	}
	for range 2 {
		g := newGuest(t)
		rx, tx, event := g.ring(0, false), g.ring(1, false), g.ring(2, false)
		if err := v.Activate(g.activation(0, rx, tx, event)); err != nil {
			t.Fatal(err)
		}
		talk(t, g, rx, tx, cid)
		v.Reset()
	}
}

// talk has the host connect to the guest, and both say something.
func talk(t *testing.T, g *guest, rx, tx *ringQueue, cid uint32) {
	t.Helper()
	const port = 1234
	buffers := (g.free + 15) &^ 15
	g.offer(rx, 16)
	s, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	timeout := unix.NsecToTimeval(int64(virtiotest.Patience))
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	// 2 seconds are usual.
	if err := unix.SetsockoptTimeval(s, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout); err != nil {
		t.Fatal(err)
	}
	connected := make(chan error, 1)
	go func() { connected <- unix.Connect(s, &unix.SockaddrVM{CID: cid, Port: port}) }()

	p, _ := g.packetOf(opRequest, rx, buffers)
	if p.DstCID != uint64(cid) || p.DstPort != port || p.SrcCID != unix.VMADDR_CID_HOST {
		t.Fatalf("the request is %+v", p)
	}
	g.answer(tx, p, opResponse, nil)
	if err := <-connected; err != nil {
		t.Fatalf("connect: %v", err)
	}
	if _, err := unix.Write(s, []byte("to the guest")); err != nil {
		t.Fatal(err)
	}
	rw, data := g.packetOf(opRW, rx, buffers)
	if string(data) != "to the guest" {
		t.Errorf("packet %+v %q", rw, data)
	}
	g.answer(tx, p, opRW, []byte("to the host"))
	b := make([]byte, 64)
	if n, err := unix.Read(s, b); err != nil || string(b[:n]) != "to the host" {
		t.Errorf("read %q, %v", b[:max(n, 0)], err)
	}
}

// packetOf is the next one of a kind. The kernel may have others to send before it: it grants credit when it likes, also of
// a connection from before a reset.
func (g *guest) packetOf(op uint16, rx *ringQueue, buffers uint64) (p packet, data []byte) {
	g.Helper()
	for p.Op != op {
		p, data = g.packet(rx, buffers)
	}
	return p, data
}

// packet is the next one that comes.
func (g *guest) packet(rx *ringQueue, buffers uint64) (p packet, data []byte) {
	g.Helper()
	u := g.take(rx)
	b := g.bytes(buffers+uint64(u.Head)*bufferLen, uint64(u.Len))
	if _, err := binary.Decode(b, binary.LittleEndian, &p); err != nil {
		g.Fatal(err)
	}
	return p, b[packetLen:]
}

// answer sends a packet the way that p came.
func (g *guest) answer(tx *ringQueue, p packet, op uint16, data []byte) {
	g.Helper()
	p.SrcCID, p.DstCID, p.SrcPort, p.DstPort = p.DstCID, p.SrcCID, p.DstPort, p.SrcPort
	p.Op, p.Type, p.Len, p.Flags, p.BufAlloc, p.FwdCnt = op, typeStream, uint32(len(data)), 0, 1<<16, 0
	head, err := binary.Append(nil, binary.LittleEndian, p)
	if err != nil {
		g.Fatal(err)
	}
	b := append(head, data...)
	gpa := g.alloc(uint64(len(b)), 16)
	copy(g.bytes(gpa, uint64(len(b))), b)
	pieces := []virtiotest.Piece{{GPA: gpa, Len: packetLen}}
	if len(data) > 0 {
		pieces = append(pieces, virtiotest.Piece{GPA: gpa + packetLen, Len: uint32(len(data))})
	}
	tx.Offer(pieces...)
	if err := tx.kick.Signal(); err != nil {
		g.Fatal(err)
	}
	g.take(tx)
}
