package boot

import "fmt"

// Mode is the processor mode that a kernel is entered in.
type Mode int

const (
	// Long64 is 64-bit mode with paging on.
	Long64 Mode = iota + 1
	// Protected32 is flat 32-bit protected mode without paging.
	Protected32
)

func (m Mode) String() string {
	switch m {
	case Long64:
		return "64-bit"
	case Protected32:
		return "32-bit protected"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// MarshalText names the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Entry is the first vCPU's state: general registers that are not named are 0, RFLAGS is 2 (interrupts off).
type Entry struct {
	Mode Mode   `json:"mode"`
	RIP  uint64 `json:"rip"`
	RSP  uint64 `json:"rsp"`
	RSI  uint64 `json:"rsi"` // the zero page, for Linux64
	RBX  uint64 `json:"rbx"` // struct hvm_start_info, for PVH
	CR0  uint64 `json:"cr0"`
	CR3  uint64 `json:"cr3"`
	CR4  uint64 `json:"cr4"`
	EFER uint64 `json:"efer"`

	GDT      uint64   `json:"gdt"` // the table's address; the IDT has limit 0
	GDTLimit uint16   `json:"gdt_limit"`
	Code     Selector `json:"cs"`
	Data     Selector `json:"ds"` // ES, FS, GS and SS too
	Task     Selector `json:"tr"`
}

// Selector is a segment selector and the descriptor that it selects.
type Selector struct {
	Index      uint16     `json:"selector"` // the selector's value: offset in the GDT
	Descriptor Descriptor `json:"descriptor"`
}

// Descriptor is a segment descriptor as the GDT holds it (Intel SDM volume 3, 3.4.5).
type Descriptor uint64

// MarshalText writes the descriptor in hexadecimal, as not every reader of JSON has integers of 64 bits.
func (d Descriptor) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%#016x", uint64(d)), nil }

// Base is the segment's first address.
func (d Descriptor) Base() uint32 { return uint32(d>>16&0xff_ffff | d>>56<<24) }

// Limit is the segment's last offset in bytes: with the granularity flag, the field counts pages.
func (d Descriptor) Limit() uint32 {
	limit := uint32(d&0xffff | d>>32&0xf_0000)
	if d.G() {
		return limit<<12 | 0xfff
	}
	return limit
}

// Type is the four type bits.
func (d Descriptor) Type() uint8 { return uint8(d >> 40 & 0xf) }

// S is set for code and data, clear for system segments.
func (d Descriptor) S() bool { return d>>44&1 != 0 }

// DPL is the privilege level.
func (d Descriptor) DPL() uint8 { return uint8(d >> 45 & 3) }

// P is set if the segment is present.
func (d Descriptor) P() bool { return d>>47&1 != 0 }

// AVL is the bit left to software.
func (d Descriptor) AVL() bool { return d>>52&1 != 0 }

// L is set for 64-bit code.
func (d Descriptor) L() bool { return d>>53&1 != 0 }

// DB is set for 32-bit code and data.
func (d Descriptor) DB() bool { return d>>54&1 != 0 }

// G is set if the limit counts 4 KiB pages.
func (d Descriptor) G() bool { return d>>55&1 != 0 }
