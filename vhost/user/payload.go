package user

import "encoding/binary"

// What the protocol allows in a message.
const (
	// MaxRegions is how many memory regions one SET_MEM_TABLE has.
	MaxRegions = 8
	// MaxFDs is how many descriptors come with one message.
	MaxFDs = 8
	// MaxConfig is the largest configuration space.
	MaxConfig = 256
	// maxPayload bounds what is read of a message, known or not.
	maxPayload = 4096
)

// All numbers have the byte order of the machine; tandem's is little-endian.
var order = binary.LittleEndian

// Payload is what follows a message's header: one of the types below, or nil.
type Payload interface {
	// appendTo gives b with the payload behind it.
	appendTo(b []byte) []byte
}

// U64 is a single number.
type U64 uint64

// VringState is a ring, and a number: its size, its base, whether it is enabled.
// struct vhost_vring_state.
type VringState struct{ Index, Num uint32 }

// VringAddr says where a ring is. struct vhost_vring_addr. The addresses are of the
// front-end's address space ("user addresses"), each inside a memory region; Log is
// a guest's.
type VringAddr struct {
	Index, Flags                uint32
	Desc, Used, Avail, LogGuest uint64
}

// VringLog in VringAddr.Flags has writes to the used ring marked too (VHOST_VRING_F_LOG), at LogGuest.
const VringLog = 1 << 0

// VringFD is a ring that a descriptor comes for, or none does: whoever would wait
// for it has to poll.
type VringFD struct {
	Index uint8
	None  bool
}

// MemoryRegion is a run of guest memory, in a file whose descriptor comes along.
type MemoryRegion struct {
	GPA    uint64
	Size   uint64
	User   uint64 // where the front-end has it
	Offset uint64 // where it begins in the file
}

// MemoryTable is all of guest memory.
type MemoryTable []MemoryRegion

// Log is where dirty pages are to be marked.
type Log struct{ Size, Offset uint64 }

// IOTLB is struct vhost_iotlb_msg.
type IOTLB struct {
	IOVA, Size, User uint64
	Perm, Type       uint8
}

// Config is a part of the device's configuration space. In a reply, Data that is
// empty means an error.
type Config struct {
	Offset, Size, Flags uint32
	Data                []byte
}

// Flags of a Config that is written.
const (
	ConfigWritable  = 0 // by the driver, to the fields that it may write
	ConfigMigration = 1 // by the front-end, to all fields
)

// Inflight describes the area that remembers requests in flight.
type Inflight struct {
	Size, Offset      uint64
	Queues, QueueSize uint16
}

// VringArea is a piece of a file that belongs to a ring.
type VringArea struct{ Vring, Size, Offset uint64 }

// Raw is a payload that is passed on as it is.
type Raw []byte

// Sizes of the payloads that have one.
const (
	sizeU64      = 8
	sizeState    = 8
	sizeAddr     = 40
	sizeRegion   = 32
	sizeTable    = 8 // and the regions
	sizeLog      = 16
	sizeIOTLB    = 32 // with the padding of the C struct
	sizeConfig   = 12 // and the data
	sizeInflight = 24 // with padding; 20 without, which some send
	sizeArea     = 24

	fdNone = 1 << 8 // in a VringFD: no descriptor comes along
)

func (v U64) appendTo(b []byte) []byte { return order.AppendUint64(b, uint64(v)) }

func (v VringState) appendTo(b []byte) []byte {
	return order.AppendUint32(order.AppendUint32(b, v.Index), v.Num)
}

func (v VringAddr) appendTo(b []byte) []byte {
	b = order.AppendUint32(order.AppendUint32(b, v.Index), v.Flags)
	return appendU64(b, v.Desc, v.Used, v.Avail, v.LogGuest)
}

func (v VringFD) appendTo(b []byte) []byte {
	n := uint64(v.Index)
	if v.None {
		n |= fdNone
	}
	return order.AppendUint64(b, n)
}

// appendTo is the payload of ADD_MEM_REG and REM_MEM_REG.
func (v MemoryRegion) appendTo(b []byte) []byte { return v.append(order.AppendUint64(b, 0)) }

func (v MemoryRegion) append(b []byte) []byte { return appendU64(b, v.GPA, v.Size, v.User, v.Offset) }

func (v MemoryTable) appendTo(b []byte) []byte {
	b = order.AppendUint64(b, uint64(uint32(len(v))))
	for _, r := range v {
		b = r.append(b)
	}
	return b
}

func (v Log) appendTo(b []byte) []byte { return appendU64(b, v.Size, v.Offset) }

func (v IOTLB) appendTo(b []byte) []byte {
	return append(appendU64(b, v.IOVA, v.Size, v.User), v.Perm, v.Type, 0, 0, 0, 0, 0, 0)
}

func (v Config) appendTo(b []byte) []byte {
	for _, n := range []uint32{v.Offset, v.Size, v.Flags} {
		b = order.AppendUint32(b, n)
	}
	return append(b, v.Data...)
}

func (v Inflight) appendTo(b []byte) []byte {
	b = appendU64(b, v.Size, v.Offset)
	b = order.AppendUint16(order.AppendUint16(b, v.Queues), v.QueueSize)
	return append(b, 0, 0, 0, 0)
}

func (v VringArea) appendTo(b []byte) []byte { return appendU64(b, v.Vring, v.Size, v.Offset) }

func (v Raw) appendTo(b []byte) []byte { return append(b, v...) }

func appendU64(b []byte, list ...uint64) []byte {
	for _, v := range list {
		b = order.AppendUint64(b, v)
	}
	return b
}
