package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strings"
)

// le is the byte order of everything that an x86 kernel is told or tells.
var le = binary.LittleEndian

// Offsets in a bzImage's first sectors (Linux, Documentation/arch/x86/boot.rst). They are the same in the zero page,
// where the setup header has the place that it has in the file.
const (
	offSetupSects    = 0x1f1
	offSysSize       = 0x1f4
	offVidMode       = 0x1fa
	offBootFlag      = 0x1fe
	offHeaderLength  = 0x201 // second byte of a jump over the rest of the header
	offMagic         = 0x202 // "HdrS"; the header's length counts from here
	offVersion       = 0x206
	offKernelVersion = 0x20e
	offLoaderType    = 0x210
	offLoadFlags     = 0x211
	offRamdiskImage  = 0x218
	offRamdiskSize   = 0x21c
	offCmdlinePtr    = 0x228
	offInitrdMax     = 0x22c
	offAlignment     = 0x230
	offRelocatable   = 0x234
	offXLoadFlags    = 0x236
	offCmdlineSize   = 0x238
	offPayload       = 0x248
	offPayloadSize   = 0x24c
	offSetupData     = 0x250
	offPrefAddress   = 0x258
	offInitSize      = 0x260
	offHandover      = 0x264 // the first field after those that boot needs
	endSetupHeader   = 0x290 // where the zero page goes on with something else
)

const (
	bootFlag      = 0xaa55
	setupMagic    = "HdrS"
	oldestVersion = 0x020c // 2.12, Linux 3.8: the first with xloadflags

	loadedHigh  = 1 << 0 // loadflags: protected-mode code goes to 1 MiB or above (bzImage, not zImage)
	xlfKernel64 = 1 << 0 // xloadflags: there is a 64-bit entry point at 0x200

	sectorSize = 512
)

// SetupHeader is the part of struct setup_header that a loader reads, and the header's bytes, which go into the zero
// page.
type SetupHeader struct {
	Version     uint16 // boot protocol version, 0x020f for 2.15
	InitrdMax   uint32 // highest address that an initrd's last byte may have
	Alignment   uint32 // of the load address of a relocatable kernel
	Relocatable bool
	CmdlineSize uint32 // longest command line, without the NUL at its end
	PrefAddress uint64 // where the kernel would like to be loaded
	InitSize    uint32 // memory that it needs from there on before it has read its memory map

	// Code is the protected-mode code, the file's second part; Payload, within it, is the compressed kernel.
	Code    FileRange
	Payload FileRange

	raw []byte // the header from offSetupSects on
}

// FileRange is a stretch of a file.
type FileRange struct {
	Offset int64
	Size   int64
}

// isBzImage tells whether a file that starts with head has a setup header.
func isBzImage(head []byte) bool {
	return len(head) >= offVersion && le.Uint16(head[offBootFlag:]) == bootFlag &&
		string(head[offMagic:offVersion]) == setupMagic
}

// parseSetup reads the setup header of a file with size bytes that starts with head.
func parseSetup(head []byte, size int64) (*SetupHeader, error) {
	if len(head) < endSetupHeader {
		return nil, fmt.Errorf("%w: setup header truncated at %#x of %#x bytes", ErrCorrupt, len(head), endSetupHeader)
	}
	version := le.Uint16(head[offVersion:])
	if version < oldestVersion {
		return nil, fmt.Errorf("%w: boot protocol %s, %s or newer wanted", ErrFormat, protocolVersion(version),
			protocolVersion(oldestVersion))
	}
	end := offMagic + int(head[offHeaderLength])
	if end < offHandover || end > endSetupHeader {
		return nil, fmt.Errorf("%w: setup header ends at %#x, want %#x to %#x", ErrCorrupt, end, offHandover, endSetupHeader)
	}
	if flags := head[offLoadFlags]; flags&loadedHigh == 0 {
		return nil, fmt.Errorf("%w: a zImage, to be loaded below 1 MiB (loadflags %#x)", ErrFormat, flags)
	}
	if flags := le.Uint16(head[offXLoadFlags:]); flags&xlfKernel64 == 0 {
		return nil, fmt.Errorf("%w: a 32-bit kernel (xloadflags %#x without XLF_KERNEL_64)", ErrFormat, flags)
	}
	h := &SetupHeader{
		Version:     version,
		InitrdMax:   le.Uint32(head[offInitrdMax:]),
		Alignment:   le.Uint32(head[offAlignment:]),
		Relocatable: head[offRelocatable] != 0,
		CmdlineSize: le.Uint32(head[offCmdlineSize:]),
		PrefAddress: le.Uint64(head[offPrefAddress:]),
		InitSize:    le.Uint32(head[offInitSize:]),
		raw:         bytes.Clone(head[offSetupSects:end]),
	}
	if h.Relocatable && bits.OnesCount32(h.Alignment) != 1 {
		return nil, fmt.Errorf("%w: kernel_alignment %#x is no power of two", ErrCorrupt, h.Alignment)
	}
	if err := h.findParts(head, size); err != nil {
		return nil, err
	}
	return h, nil
}

// findParts fills Code and Payload.
func (h *SetupHeader) findParts(head []byte, size int64) error {
	sectors := int64(head[offSetupSects])
	if sectors == 0 {
		sectors = 4 // what the field meant before it was one
	}
	h.Code = FileRange{(sectors + 1) * sectorSize, int64(le.Uint32(head[offSysSize:])) * 16}
	room := size - h.Code.Offset
	// syssize is rounded up to its unit, so that it may end that much after the file.
	if h.Code.Size <= 0 || h.Code.Size >= room+16 {
		return fmt.Errorf("%w: %#x bytes of code (syssize) at %#x, the file has %#x: truncated?", ErrCorrupt,
			h.Code.Size, h.Code.Offset, size)
	}
	h.Code.Size = min(h.Code.Size, room)

	offset, length := int64(le.Uint32(head[offPayload:])), int64(le.Uint32(head[offPayloadSize:]))
	if length == 0 || offset+length > h.Code.Size {
		return fmt.Errorf("%w: payload of %#x bytes at %#x, the code has %#x", ErrCorrupt, length, offset, h.Code.Size)
	}
	h.Payload = FileRange{h.Code.Offset + offset, length}
	return nil
}

// readVersion reads the kernel's description of itself, which the header points at. A kernel without a usable one is
// none the worse, so there is no error.
func (h *SetupHeader) readVersion(file io.ReaderAt) string {
	const longest = 256
	text := make([]byte, longest)
	// The field counts from the header's own sector, and the text is in the setup code.
	at := sectorSize + int64(le.Uint16(h.raw[offKernelVersion-offSetupSects:]))
	if at == sectorSize || at+longest > h.Code.Offset {
		return ""
	}
	if _, err := file.ReadAt(text, at); err != nil {
		return ""
	}
	text, _, ok := bytes.Cut(text, []byte{0})
	if !ok || strings.ContainsFunc(string(text), func(r rune) bool { return r < ' ' || r > '~' }) {
		return "" // it gets printed on terminals
	}
	return string(text)
}

func protocolVersion(v uint16) string { return fmt.Sprintf("%d.%d", v>>8, v&0xff) }
