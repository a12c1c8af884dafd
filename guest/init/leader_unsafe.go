package guestinit

import (
	"bytes"
	"unsafe"
)

// leaderAddress is where the machine code of leader_amd64.s begins. A function's value in Go would be that of a wrapper.
func leaderAddress() unsafe.Pointer

// leaderEnd stands behind the code: two breakpoints and what nobody would write between them.
const leaderEnd = "\xcctandem\xcc"

// leaderCode is the code's bytes. They are the same at every address: all of its jumps are relative.
func leaderCode() []byte {
	const most = 1024 // more than there are; the text segment goes on for megabytes
	text := unsafe.Slice((*byte)(leaderAddress()), most)
	code, _, found := bytes.Cut(text, []byte(leaderEnd))
	if !found {
		panic("guestinit: the leader's code has no end")
	}
	return code
}
