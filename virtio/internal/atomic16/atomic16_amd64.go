// Package atomic16 accesses the 16-bit fields of a ring that another processor
// accesses at the same time: indices, flags and event indices.
//
// Go's own atomics have 32 and 64 bits, and a field's neighbours belong to the
// other side. The two functions are in assembly: the compiler cannot see into them
// and moves no memory access across a call, and what the processor may reorder is
// said with each.
package atomic16

// Load loads a value that the other side stores. What is loaded after it in program
// order is not older than it.
//
//go:noescape
func Load(p *uint16) uint16

// Store stores a value that the other side loads. What was stored before it is
// visible to whoever sees it (release), and what is loaded after it is not older
// than it (a full fence).
//
//go:noescape
func Store(p *uint16, v uint16)
