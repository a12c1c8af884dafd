package acpi

import (
	"encoding/binary"
	"fmt"
)

// AML, the byte code of the DSDT (ACPI 6.5, chapter 20), is a tree of terms. Each function here returns the bytes of
// one; terms that contain others take them as arguments, so that a table reads in Go like its ASL.

// Opcodes (20.3).
const (
	opZero         = 0x00
	opOne          = 0x01
	opName         = 0x08
	opByte         = 0x0a
	opWord         = 0x0b
	opDWord        = 0x0c
	opString       = 0x0d
	opQWord        = 0x0e
	opScope        = 0x10
	opBuffer       = 0x11
	opPackage      = 0x12
	opMethod       = 0x14
	opDualName     = 0x2e
	opMultiName    = 0x2f
	opExt          = 0x5b
	opExtDevice    = 0x82
	opArg0         = 0x68
	opOr           = 0x7d
	opCreateDWord  = 0x8a
	opLogicalEqual = 0x93
	opIf           = 0xa0
	opReturn       = 0xa4
)

// pkgLength puts PkgLength in front of body (20.2.4): how many bytes there are from the first byte of PkgLength on. A
// length below 64 is one byte; else the first byte has four bits of it and says how many bytes follow with eight each.
func pkgLength(body []byte) []byte {
	if n := len(body) + 1; n < 1<<6 {
		return append([]byte{byte(n)}, body...)
	}
	for extra := 1; extra <= 3; extra++ {
		n := len(body) + 1 + extra
		if n >= 1<<(4+8*extra) {
			continue
		}
		head := []byte{byte(extra<<6 | n&0xf)}
		for rest := n >> 4; len(head) <= extra; rest >>= 8 {
			head = append(head, byte(rest))
		}
		return append(head, body...)
	}
	panic(fmt.Sprintf("acpi: an AML term of %d bytes", len(body))) // no Spec that Build accepts comes near 256 MiB
}

// nameString encodes a path such as "_CRS", "\_SB_" or "\_SB_.PCI0"; every segment has four characters.
func nameString(path string) []byte {
	var out []byte
	if path[0] == '\\' {
		out, path = append(out, '\\'), path[1:]
	}
	var segments []byte
	for len(path) > 0 {
		segments, path = append(segments, path[:4]...), path[4:]
		if len(path) > 0 {
			path = path[1:] // the dot
		}
	}
	switch n := len(segments) / 4; n {
	case 1:
	case 2:
		out = append(out, opDualName)
	default:
		out = append(out, opMultiName, byte(n))
	}
	return append(out, segments...)
}

func concat(terms ...[]byte) []byte {
	var out []byte
	for _, t := range terms {
		out = append(out, t...)
	}
	return out
}

// op is an opcode with the terms that follow it.
func op(code byte, operands ...[]byte) []byte { return append([]byte{code}, concat(operands...)...) }

func name(path string, object []byte) []byte { return op(opName, nameString(path), object) }

func scope(path string, terms ...[]byte) []byte {
	return op(opScope, pkgLength(append(nameString(path), concat(terms...)...)))
}

func device(path string, terms ...[]byte) []byte {
	return append([]byte{opExt, opExtDevice}, pkgLength(append(nameString(path), concat(terms...)...))...)
}

// method is a serialized one: only one thread runs it at a time, which those that make named fields must ask for.
func method(path string, args int, terms ...[]byte) []byte {
	const serialized = 1 << 3
	body := append(nameString(path), byte(args)|serialized)
	return op(opMethod, pkgLength(append(body, concat(terms...)...)))
}

func ifTerm(condition []byte, then ...[]byte) []byte {
	return op(opIf, pkgLength(append(condition, concat(then...)...)))
}

// integer takes the shortest encoding.
func integer(n uint64) []byte {
	switch {
	case n == 0:
		return []byte{opZero}
	case n == 1:
		return []byte{opOne}
	case n <= 0xff:
		return []byte{opByte, byte(n)}
	case n <= 0xffff:
		return binary.LittleEndian.AppendUint16([]byte{opWord}, uint16(n))
	case n <= 0xffff_ffff:
		return binary.LittleEndian.AppendUint32([]byte{opDWord}, uint32(n))
	}
	return binary.LittleEndian.AppendUint64([]byte{opQWord}, n)
}

func str(s string) []byte { return append(append([]byte{opString}, s...), 0) }

func arg(n byte) []byte { return []byte{opArg0 + n} }

// pkg is a Package, an array of objects; at most 255 of them.
func pkg(elements ...[]byte) []byte {
	return op(opPackage, pkgLength(append([]byte{byte(len(elements))}, concat(elements...)...)))
}

func buffer(data []byte) []byte {
	return op(opBuffer, pkgLength(append(integer(uint64(len(data))), data...)))
}

// eisaID packs a plug-and-play id (19.6.34) such as "PNP0501" in 32 bits: three letters of five bits, then four hex
// digits, the most significant byte first.
func eisaID(id string) []byte {
	var letters, digits uint32
	for _, c := range id[:3] {
		letters = letters<<5 | uint32(c-'@')
	}
	if _, err := fmt.Sscanf(id[3:], "%04X", &digits); err != nil {
		panic("acpi: plug-and-play id " + id) // ids are constants of this package
	}
	packed := binary.BigEndian.AppendUint32(nil, letters<<16|digits)
	return append([]byte{opDWord}, packed...)
}

// uuid is ToUUID (19.6.142): the first three groups are little-endian, the rest are bytes in order.
func uuid(a uint32, b, c uint16, d [8]byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, a)
	out = binary.LittleEndian.AppendUint16(out, b)
	out = binary.LittleEndian.AppendUint16(out, c)
	return buffer(append(out, d[:]...))
}
