package child

import "encoding/binary"

// What addresses in a program point at is in the stub's memory, see machine.go: what the program brings along stands behind
// its header, and what calls fill in the part before it, which is empty.

// end is the address behind all data so far.
func (p *Program) end() uint64 { return programBase + 8*headerWords + uint64(len(p.data)) }

// align makes the end one of a word.
func (p *Program) align() {
	for len(p.data)%8 != 0 {
		p.data = append(p.data, 0)
	}
}

// place puts data into the program's memory, and gives its address.
func (p *Program) place(b []byte) uint64 {
	p.align()
	at := p.end()
	p.data = append(p.data, b...)
	return at
}

// words is place for words.
func (p *Program) words(list ...uint64) uint64 {
	p.align()
	at := p.end()
	for _, w := range list {
		p.data = binary.LittleEndian.AppendUint64(p.data, w)
	}
	return at
}

// room is the address of memory that is empty, for calls to fill.
func (p *Program) room(size int) uint64 {
	size = (size + 7) &^ 7
	if p.scratch+size > scratchSize {
		return p.place(make([]byte, size))
	}
	at := uint64(scratchBase + p.scratch)
	p.scratch += size
	return at
}
