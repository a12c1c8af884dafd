package kvm

import "fmt"

// Request is the number of an ioctl: the direction, the size of the
// argument, KVM's letter 0xAE and a sequence number (asm-generic/ioctl.h).
// Two requests may share a sequence number and differ in size.
type Request uint32

const (
	requestLetter = 0xAE // KVMIO in linux/kvm.h

	dirNone  = 0
	dirWrite = 1 // user space writes, the kernel reads
	dirRead  = 2
)

const (
	reqIO   = dirNone<<30 | requestLetter<<8
	reqIOW  = dirWrite<<30 | requestLetter<<8
	reqIOR  = dirRead<<30 | requestLetter<<8
	reqIOWR = (dirRead|dirWrite)<<30 | requestLetter<<8
)

// The size in a request is that of the C struct it is declared with, which
// for a struct with a flexible array is the size of its header. A test holds
// each number against linux/kvm.h.
const (
	// On /dev/kvm.
	reqGetAPIVersion          Request = reqIO // sequence number 0
	reqCreateVM               Request = reqIO | 0x01
	reqGetMSRIndexList        Request = reqIOWR | 4<<16 | 0x02
	reqCheckExtension         Request = reqIO | 0x03 // on a VM too
	reqGetVCPUMmapSize        Request = reqIO | 0x04
	reqGetSupportedCPUID      Request = reqIOWR | 8<<16 | 0x05
	reqGetEmulatedCPUID       Request = reqIOWR | 8<<16 | 0x09
	reqGetMSRFeatureIndexList Request = reqIOWR | 4<<16 | 0x0a

	// On a VM.
	reqCreateVCPU          Request = reqIO | 0x41
	reqGetDirtyLog         Request = reqIOW | 16<<16 | 0x42
	reqSetUserMemoryRegion Request = reqIOW | 32<<16 | 0x46
	reqSetTSSAddr          Request = reqIO | 0x47
	reqSetIdentityMapAddr  Request = reqIOW | 8<<16 | 0x48
	reqCreateIRQChip       Request = reqIO | 0x60
	reqIRQLine             Request = reqIOW | 8<<16 | 0x61
	reqGetIRQChip          Request = reqIOWR | 520<<16 | 0x62
	reqSetIRQChip          Request = reqIOR | 520<<16 | 0x63
	reqIRQLineStatus       Request = reqIOWR | 8<<16 | 0x67
	reqSetGSIRouting       Request = reqIOW | 8<<16 | 0x6a
	reqReinjectControl     Request = reqIO | 0x71
	reqIRQFD               Request = reqIOW | 32<<16 | 0x76
	reqCreatePIT2          Request = reqIOW | 64<<16 | 0x77
	reqSetBootCPUID        Request = reqIO | 0x78
	reqIOEventFD           Request = reqIOW | 64<<16 | 0x79
	reqSetClock            Request = reqIOW | 48<<16 | 0x7b
	reqGetClock            Request = reqIOR | 48<<16 | 0x7c
	reqGetPIT2             Request = reqIOR | 112<<16 | 0x9f
	reqSetPIT2             Request = reqIOW | 112<<16 | 0xa0
	reqSetTSCKHz           Request = reqIO | 0xa2 // on a vCPU too
	reqGetTSCKHz           Request = reqIO | 0xa3 // on a vCPU too
	reqEnableCap           Request = reqIOW | 104<<16 | 0xa3
	reqSignalMSI           Request = reqIOW | 32<<16 | 0xa5
	reqClearDirtyLog       Request = reqIOWR | 24<<16 | 0xc0

	// On a vCPU.
	RequestRun       Request = reqIO | 0x80
	reqGetRegs       Request = reqIOR | 144<<16 | 0x81
	reqSetRegs       Request = reqIOW | 144<<16 | 0x82
	reqGetSregs      Request = reqIOR | 312<<16 | 0x83
	reqSetSregs      Request = reqIOW | 312<<16 | 0x84
	reqTranslate     Request = reqIOWR | 24<<16 | 0x85
	reqInterrupt     Request = reqIOW | 4<<16 | 0x86
	reqGetMSRs       Request = reqIOWR | 8<<16 | 0x88 // on /dev/kvm too
	reqSetMSRs       Request = reqIOW | 8<<16 | 0x89
	reqSetSignalMask Request = reqIOW | 4<<16 | 0x8b
	reqGetFPU        Request = reqIOR | 416<<16 | 0x8c
	reqSetFPU        Request = reqIOW | 416<<16 | 0x8d
	reqGetLAPIC      Request = reqIOR | 1024<<16 | 0x8e
	reqSetLAPIC      Request = reqIOW | 1024<<16 | 0x8f
	reqSetCPUID2     Request = reqIOW | 8<<16 | 0x90
	reqGetCPUID2     Request = reqIOWR | 8<<16 | 0x91
	reqGetMPState    Request = reqIOR | 4<<16 | 0x98
	reqSetMPState    Request = reqIOW | 4<<16 | 0x99
	reqNMI           Request = reqIO | 0x9a
	reqSetGuestDebug Request = reqIOW | 72<<16 | 0x9b
	reqGetVCPUEvents Request = reqIOR | 64<<16 | 0x9f
	reqSetVCPUEvents Request = reqIOW | 64<<16 | 0xa0
	reqGetDebugRegs  Request = reqIOR | 128<<16 | 0xa1
	reqSetDebugRegs  Request = reqIOW | 128<<16 | 0xa2
	reqGetXSave      Request = reqIOR | 4096<<16 | 0xa4
	reqSetXSave      Request = reqIOW | 4096<<16 | 0xa5
	reqGetXCRS       Request = reqIOR | 392<<16 | 0xa6
	reqSetXCRS       Request = reqIOW | 392<<16 | 0xa7
	reqKVMClockCtrl  Request = reqIO | 0xad
	reqSMI           Request = reqIO | 0xb7
	reqGetSregs2     Request = reqIOR | 320<<16 | 0xcc
	reqSetSregs2     Request = reqIOW | 320<<16 | 0xcd
	reqGetXSave2     Request = reqIOR | 4096<<16 | 0xcf
)

func (r Request) String() string {
	if name, ok := requestNames[r]; ok {
		return name
	}
	return fmt.Sprintf("ioctl(%#x)", uint32(r))
}
