package acpi

import "encoding/binary"

// Resource descriptors (ACPI 6.5, 6.4) are what a device's _CRS holds: a buffer of small and large items of the old
// plug-and-play format, ended by a tag.

// resources is a ResourceTemplate.
func resources(items ...[]byte) []byte {
	const endTag, noChecksum = 0x79, 0
	return buffer(append(concat(items...), endTag, noChecksum))
}

// ioPorts is the I/O Port Descriptor (6.4.2.5): fixed ports, all 16 address bits decoded.
func ioPorts(base uint16, count uint8) []byte {
	const tag, decode16, alignment = 0x47, 1, 1
	out := []byte{tag, decode16}
	out = binary.LittleEndian.AppendUint16(out, base)
	out = binary.LittleEndian.AppendUint16(out, base)
	return append(out, alignment, count)
}

// memory32 is the 32-Bit Fixed Memory Range Descriptor (6.4.3.4), writable.
func memory32(base, size uint32) []byte {
	const tag, writable = 0x86, 1
	out := []byte{tag, 9, 0, writable}
	out = binary.LittleEndian.AppendUint32(out, base)
	return binary.LittleEndian.AppendUint32(out, size)
}

// interrupt is the Extended Interrupt Descriptor (6.4.3.6). The short one (6.4.2.1) would do for ISA interrupts, but
// Linux lets MADT overrides change what it says, and only the extended one reaches GSIs above 15.
func interrupt(i Interrupt) []byte {
	const tag, consumer, edge, activeLow, shared = 0x89, 1 << 0, 1 << 1, 1 << 2, 1 << 3
	flags := byte(consumer)
	if !i.Level {
		flags |= edge
	}
	if i.ActiveLow {
		flags |= activeLow
	}
	if i.Shared {
		flags |= shared
	}
	out := []byte{tag, 6, 0, flags, 1}
	return binary.LittleEndian.AppendUint32(out, i.GSI)
}

// The address space descriptors (6.4.3.5) say which stretches a bridge passes on to its bus: memory, ports or bus
// numbers, with fields of two, four or eight bytes.
const (
	spaceMemory = 0
	spaceIO     = 1
	spaceBus    = 2

	tagQWordSpace = 0x8a
	tagDWordSpace = 0x87
	tagWordSpace  = 0x88

	memoryWritable = 1 << 0 // and not cacheable: what lies there are registers
	ioEntireRange  = 3      // not only the aliases that ISA decodes
)

// produced is an address space descriptor for the window that a bridge produces, both ends fixed.
func produced(tag, kind, kindFlags byte, w Window) []byte {
	const minFixed, maxFixed = 1 << 2, 1 << 3
	width := map[byte]int{tagWordSpace: 2, tagDWordSpace: 4, tagQWordSpace: 8}[tag]
	out := []byte{tag, byte(3 + 5*width), 0, kind, minFixed | maxFixed, kindFlags}
	const granularity, translation = 0, 0
	for _, v := range []uint64{granularity, w.Base, w.Base + w.Size - 1, translation, w.Size} {
		out = append(out, binary.LittleEndian.AppendUint64(nil, v)[:width]...)
	}
	return out
}

func busNumbers(last uint8) []byte {
	return produced(tagWordSpace, spaceBus, 0, Window{0, uint64(last) + 1})
}

// ioWindow is given in four bytes: a length of all 64 Ki ports doesn't fit in two.
func ioWindow(w Window) []byte { return produced(tagDWordSpace, spaceIO, ioEntireRange, w) }

func memoryWindow(w Window) []byte {
	if w.Base+w.Size >= 1<<32 {
		return produced(tagQWordSpace, spaceMemory, memoryWritable, w)
	}
	return produced(tagDWordSpace, spaceMemory, memoryWritable, w)
}
