package main

import (
	"encoding/binary"
	"fmt"
)

const (
	hostCID  = 2
	guestCID = 3

	headerSize = 44
	typeStream = 1
	shutBoth   = 3 // of OP_SHUTDOWN's flags: neither receives nor sends any more
)

// Operations. virtio 1.2, section 5.10.6.
const (
	opRequest = 1 + iota
	opResponse
	opReset
	opShutdown
	opData
	opCreditUpdate
	opCreditRequest
)

var opNames = []string{"", "REQUEST", "RESPONSE", "RST", "SHUTDOWN", "RW", "CREDIT_UPDATE", "CREDIT_REQUEST"}

// header is struct virtio_vsock_hdr.
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	length           uint32
	op               uint16
	flags            uint32
	bufAlloc         uint32 // how much the sender keeps for a reader that is slow
	fwdCnt           uint32 // how much its reader has taken so far
}

func (h header) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, h.srcCID)
	b = le.AppendUint64(b, h.dstCID)
	b = le.AppendUint32(b, h.srcPort)
	b = le.AppendUint32(b, h.dstPort)
	b = le.AppendUint32(b, h.length)
	b = le.AppendUint16(b, typeStream)
	b = le.AppendUint16(b, h.op)
	b = le.AppendUint32(b, h.flags)
	b = le.AppendUint32(b, h.bufAlloc)
	return le.AppendUint32(b, h.fwdCnt)
}

func decode(b []byte) header {
	le := binary.LittleEndian
	return header{
		srcCID: le.Uint64(b), dstCID: le.Uint64(b[8:]), srcPort: le.Uint32(b[16:]), dstPort: le.Uint32(b[20:]),
		length: le.Uint32(b[24:]), op: le.Uint16(b[30:]), flags: le.Uint32(b[32:]), bufAlloc: le.Uint32(b[36:]), fwdCnt: le.Uint32(b[40:]),
	}
}

// back is a header for the other direction.
func (h header) back() header {
	return header{srcCID: h.dstCID, dstCID: h.srcCID, srcPort: h.dstPort, dstPort: h.srcPort}
}

func (h header) String() string {
	name := fmt.Sprint("op ", h.op)
	if int(h.op) < len(opNames) {
		name = opNames[h.op]
	}
	return fmt.Sprintf("%s %d:%d to %d:%d, buf_alloc %d, fwd_cnt %d", name, h.srcCID, h.srcPort, h.dstCID, h.dstPort, h.bufAlloc, h.fwdCnt)
}
