package boot

// SetupHeader is the part of struct setup_header (Linux, Documentation/arch/x86/boot.rst) that a loader reads, and the
// bytes themselves, which go into the zero page.
type SetupHeader struct {
	Version      uint16 // boot protocol version, 0x020f for 2.15
	LoadFlags    uint8
	XLoadFlags   uint16
	SetupSects   uint8  // 512-byte sectors of real-mode code after the first one
	SysSize      uint32 // of the protected-mode code, in 16-byte units
	InitrdMax    uint32 // highest address that an initrd's last byte may have
	Alignment    uint32 // that a relocatable kernel wants
	Relocatable  bool
	CmdlineSize  uint32 // longest command line, without the terminating NUL
	PayloadAt    uint32 // from the start of the protected-mode code
	PayloadSize  uint32
	PrefAddress  uint64 // where the kernel would like to be loaded
	InitSize     uint32 // contiguous memory that it needs from there, before it reads its memory map
	HandoverSize uint32

	raw []byte // from offset 0x1f1 to the header's end
}
