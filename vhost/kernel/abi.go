package kernel

import "fmt"

// Request is the number of an ioctl. linux/vhost.h.
type Request uint32

// The direction of an ioctl's argument, as the caller sees it. asm-generic/ioctl.h.
const (
	none  = 0
	write = 1
	read  = 2

	magic = 0xaf // VHOST_VIRTIO
)

// Sizes of the arguments that are structs; a test holds them against the types below.
const (
	sizeHeader = 8
	sizeState  = 8 // and vhost_vring_file, vhost_vring_worker
	sizeAddr   = 40
	sizeWorker = 4
)

func ioc(direction, nr, size uintptr) Request {
	return Request(direction<<30 | size<<16 | magic<<8 | nr)
}

// The ioctls of all vhost devices, and of vhost-net and vhost-vsock.
var (
	getFeatures        = ioc(read, 0x00, 8)
	setFeatures        = ioc(write, 0x00, 8)
	setOwner           = ioc(none, 0x01, 0)
	resetOwner         = ioc(none, 0x02, 0)
	setMemTable        = ioc(write, 0x03, sizeHeader)
	setLogBase         = ioc(write, 0x04, 8)
	setLogFD           = ioc(write, 0x07, 4)
	newWorker          = ioc(read, 0x08, sizeWorker)
	freeWorker         = ioc(write, 0x09, sizeWorker)
	setVringNum        = ioc(write, 0x10, sizeState)
	setVringAddr       = ioc(write, 0x11, sizeAddr)
	setVringBase       = ioc(write, 0x12, sizeState)
	getVringBase       = ioc(read|write, 0x12, sizeState)
	setVringEndian     = ioc(write, 0x13, sizeState)
	getVringEndian     = ioc(write, 0x14, sizeState)
	attachVringWorker  = ioc(write, 0x15, sizeState)
	getVringWorker     = ioc(read|write, 0x16, sizeState)
	setVringKick       = ioc(write, 0x20, sizeState)
	setVringCall       = ioc(write, 0x21, sizeState)
	setVringErr        = ioc(write, 0x22, sizeState)
	setVringBusyloop   = ioc(write, 0x23, sizeState)
	getVringBusyloop   = ioc(write, 0x24, sizeState)
	setBackendFeatures = ioc(write, 0x25, 8)
	getBackendFeatures = ioc(read, 0x26, 8)
	netSetBackend      = ioc(write, 0x30, sizeState)
	vsockSetGuestCID   = ioc(write, 0x60, 8)
	vsockSetRunning    = ioc(write, 0x61, 4)
)

var requestNames = map[Request]string{
	getFeatures:        "VHOST_GET_FEATURES",
	setFeatures:        "VHOST_SET_FEATURES",
	setOwner:           "VHOST_SET_OWNER",
	resetOwner:         "VHOST_RESET_OWNER",
	setMemTable:        "VHOST_SET_MEM_TABLE",
	setLogBase:         "VHOST_SET_LOG_BASE",
	setLogFD:           "VHOST_SET_LOG_FD",
	newWorker:          "VHOST_NEW_WORKER",
	freeWorker:         "VHOST_FREE_WORKER",
	setVringNum:        "VHOST_SET_VRING_NUM",
	setVringAddr:       "VHOST_SET_VRING_ADDR",
	setVringBase:       "VHOST_SET_VRING_BASE",
	getVringBase:       "VHOST_GET_VRING_BASE",
	setVringEndian:     "VHOST_SET_VRING_ENDIAN",
	getVringEndian:     "VHOST_GET_VRING_ENDIAN",
	attachVringWorker:  "VHOST_ATTACH_VRING_WORKER",
	getVringWorker:     "VHOST_GET_VRING_WORKER",
	setVringKick:       "VHOST_SET_VRING_KICK",
	setVringCall:       "VHOST_SET_VRING_CALL",
	setVringErr:        "VHOST_SET_VRING_ERR",
	setVringBusyloop:   "VHOST_SET_VRING_BUSYLOOP_TIMEOUT",
	getVringBusyloop:   "VHOST_GET_VRING_BUSYLOOP_TIMEOUT",
	setBackendFeatures: "VHOST_SET_BACKEND_FEATURES",
	getBackendFeatures: "VHOST_GET_BACKEND_FEATURES",
	netSetBackend:      "VHOST_NET_SET_BACKEND",
	vsockSetGuestCID:   "VHOST_VSOCK_SET_GUEST_CID",
	vsockSetRunning:    "VHOST_VSOCK_SET_RUNNING",
}

func (r Request) String() string {
	if name, ok := requestNames[r]; ok {
		return name
	}
	return fmt.Sprintf("ioctl %#x", uint32(r))
}

// Feature bits that vhost adds to the device's. linux/vhost_types.h.
const (
	FeatureLogAll       = 26 // VHOST_F_LOG_ALL: mark the pages that are written
	FeatureNetVirtioHdr = 27 // VHOST_NET_F_VIRTIO_NET_HDR: the kernel adds the header, the tap has none
)

// VringLog in VringAddr.Flags has writes to the used ring marked too
// (VHOST_VRING_F_LOG).
const VringLog = 1 << 0

// NoFile in place of a descriptor takes one away (VHOST_FILE_UNBIND).
const NoFile = -1

// pageSize is what addresses and sizes of memory are multiples of (VHOST_PAGE_SIZE).
const pageSize = 0x1000

// struct vhost_vring_state.
type vringState struct{ Index, Num uint32 }

// struct vhost_vring_file.
type vringFile struct {
	Index uint32
	FD    int32
}

// VringAddr says where a ring is: struct vhost_vring_addr. The addresses are this
// process's, but for LogGuest.
type VringAddr struct {
	Index    uint32
	Flags    uint32
	Desc     uint64
	Used     uint64
	Avail    uint64
	LogGuest uint64 // where the used ring's writes are marked, as if it were there
}

// MemoryRegion is a run of guest memory: struct vhost_memory_region.
type MemoryRegion struct {
	GPA  uint64
	Size uint64
	User uint64 // where this process has it
	_    uint64
}

// struct vhost_memory, without the regions behind it.
type memoryHeader struct {
	Count uint32
	_     uint32
}

// struct vhost_worker_state.
type workerState struct{ ID uint32 }

// struct vhost_vring_worker.
type vringWorker struct{ Index, ID uint32 }
