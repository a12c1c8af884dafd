package queue

// load16 loads a value that the other side stores. What is loaded after it in
// program order is not older than it.
//
//go:noescape
func load16(p *uint16) uint16

// store16 stores a value that the other side loads. What was stored before it
// is visible to whoever sees it (release), and what is loaded after it is not
// older than it (a full fence).
//
//go:noescape
func store16(p *uint16, v uint16)
