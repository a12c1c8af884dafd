package vsock

// ring holds the bytes of one connection that a program of the host has not read yet. The zero ring is empty and has no
// memory.
type ring struct {
	bytes []byte
	first int
	held  int
}

// add copies pieces behind what is there. There has to be room.
func (r *ring) add(pieces [][]byte) {
	for _, p := range pieces {
		for len(p) > 0 {
			at := (r.first + r.held) % len(r.bytes)
			n := copy(r.bytes[at:min(len(r.bytes), at+len(r.bytes)-r.held)], p)
			r.held += n
			p = p[n:]
		}
	}
}

// pieces are what is there, as one or two slices.
func (r *ring) pieces(into *[2][]byte) [][]byte {
	end := r.first + r.held
	if end <= len(r.bytes) {
		into[0] = r.bytes[r.first:end]
		return into[:1]
	}
	into[0], into[1] = r.bytes[r.first:], r.bytes[:end-len(r.bytes)]
	return into[:2]
}

// remove takes the first n bytes away.
func (r *ring) remove(n int) {
	r.held -= n
	r.first += n
	if r.first >= len(r.bytes) {
		r.first -= len(r.bytes)
	}
}

// maxSpares is how many buffers are kept for the next slow reader.
const maxSpares = 4

// spares are buffers that nobody uses.
type spares struct {
	size int
	list [][]byte
}

func (s *spares) get() []byte {
	if n := len(s.list); n > 0 {
		b := s.list[n-1]
		s.list = s.list[:n-1]
		return b
	}
	return make([]byte, s.size)
}

func (s *spares) put(b []byte) {
	if b != nil && len(s.list) < maxSpares {
		s.list = append(s.list, b)
	}
}
