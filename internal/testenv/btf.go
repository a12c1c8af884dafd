package testenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of Linux's Documentation/bpf/btf.rst that btfFunction has to know.
const (
	btfInt       = 1
	btfArray     = 3
	btfStruct    = 4
	btfUnion     = 5
	btfEnum      = 6
	btfFunc      = 12
	btfFuncProto = 13
	btfVar       = 14
	btfDatasec   = 15
	btfDeclTag   = 17
	btfEnum64    = 19
)

var errBTF = errors.New("malformed BTF")

// btfFunction returns the type id of the function in raw BTF data.
func btfFunction(data []byte, name string) (uint32, error) {
	const header, magic = 24, 0xeb9f
	if len(data) < header || binary.LittleEndian.Uint16(data) != magic {
		return 0, errBTF
	}
	u32 := func(b []byte, at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	types, err := btfSection(data, u32(data, 4)+u32(data, 8), u32(data, 12))
	if err != nil {
		return 0, err
	}
	strings, err := btfSection(data, u32(data, 4)+u32(data, 16), u32(data, 20))
	if err != nil {
		return 0, err
	}
	want := append([]byte(name), 0)
	for id := uint32(1); len(types) >= 12; id++ { // struct btf_type: name_off, info, size or type
		info := u32(types, 4)
		kind, vlen := info>>24&0x1f, info&0xffff
		if at := u32(types, 0); kind == btfFunc && at < len(strings) && bytes.HasPrefix(strings[at:], want) {
			return id, nil
		}
		size := 12 + btfTail(kind, vlen)
		if size > len(types) {
			return 0, errBTF
		}
		types = types[size:]
	}
	return 0, fmt.Errorf("no function %s", name)
}

func btfSection(data []byte, offset, size int) ([]byte, error) {
	if offset > len(data) || size > len(data)-offset {
		return nil, errBTF
	}
	return data[offset : offset+size], nil
}

// btfTail is the number of bytes that follow a struct btf_type.
func btfTail(kind, vlen int) int {
	switch kind {
	case btfInt, btfVar, btfDeclTag:
		return 4
	case btfArray:
		return 12
	case btfStruct, btfUnion, btfDatasec, btfEnum64:
		return 12 * vlen
	case btfEnum, btfFuncProto:
		return 8 * vlen
	}
	return 0
}
