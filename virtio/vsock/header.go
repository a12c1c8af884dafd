package vsock

import "encoding/binary"

// headerSize is the length of struct virtio_vsock_hdr. virtio 1.2, section 5.10.6.
const headerSize = 44

// Feature bits. virtio 1.2, section 5.10.3.
const (
	FeatureStream    = 0 // VIRTIO_VSOCK_F_STREAM
	FeatureSeqPacket = 1 // VIRTIO_VSOCK_F_SEQPACKET
)

// typeStream is the type of socket that this device has (VIRTIO_VSOCK_TYPE_STREAM).
const typeStream = 1

// Operations. virtio 1.2, section 5.10.6.
const (
	opRequest       = 1 // VIRTIO_VSOCK_OP_REQUEST
	opResponse      = 2 // VIRTIO_VSOCK_OP_RESPONSE
	opReset         = 3 // VIRTIO_VSOCK_OP_RST
	opShutdown      = 4 // VIRTIO_VSOCK_OP_SHUTDOWN
	opData          = 5 // VIRTIO_VSOCK_OP_RW
	opCreditUpdate  = 6 // VIRTIO_VSOCK_OP_CREDIT_UPDATE
	opCreditRequest = 7 // VIRTIO_VSOCK_OP_CREDIT_REQUEST
)

// Flags of opShutdown. virtio 1.2, section 5.10.6.5.
const (
	shutReceive = 1 // VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE: the sender of the packet takes no more
	shutSend    = 2 // VIRTIO_VSOCK_SHUTDOWN_F_SEND: it sends no more
	shutBoth    = shutReceive | shutSend
)

// header is struct virtio_vsock_hdr.
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	len              uint32
	typ, op          uint16
	flags            uint32
	bufAlloc         uint32 // how much the sender holds for a reader that is slow
	fwdCnt           uint32 // how much it got and its reader has taken
}

func (h *header) decode(b *[headerSize]byte) {
	le := binary.LittleEndian
	*h = header{
		srcCID: le.Uint64(b[0:]), dstCID: le.Uint64(b[8:]),
		srcPort: le.Uint32(b[16:]), dstPort: le.Uint32(b[20:]),
		len: le.Uint32(b[24:]), typ: le.Uint16(b[28:]), op: le.Uint16(b[30:]),
		flags: le.Uint32(b[32:]), bufAlloc: le.Uint32(b[36:]), fwdCnt: le.Uint32(b[40:]),
	}
}

func (h *header) encode(b *[headerSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.srcCID)
	le.PutUint64(b[8:], h.dstCID)
	le.PutUint32(b[16:], h.srcPort)
	le.PutUint32(b[20:], h.dstPort)
	le.PutUint32(b[24:], h.len)
	le.PutUint16(b[28:], h.typ)
	le.PutUint16(b[30:], h.op)
	le.PutUint32(b[32:], h.flags)
	le.PutUint32(b[36:], h.bufAlloc)
	le.PutUint32(b[40:], h.fwdCnt)
}

// reset is the answer to a packet that belongs to no connection. Its sender sees it come from where it sent to.
func (h *header) reset() header {
	return header{
		srcCID: h.dstCID, dstCID: h.srcCID, srcPort: h.dstPort, dstPort: h.srcPort, typ: h.typ, op: opReset,
	}
}
