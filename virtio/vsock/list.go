package vsock

// The lists that a connection can be on.
const (
	onControl = iota // it has packets without data to send
	onReady          // its socket may have data, and the guest gives credit
	lists
)

// hook is a connection's place in one list.
type hook struct {
	prev, next *conn
	in         bool
}

// list is a queue of connections. A connection is on each list once at most, and can leave it at any time.
type list struct {
	which       int
	first, last *conn
}

func (l *list) add(c *conn) {
	h := &c.hooks[l.which]
	if h.in {
		return
	}
	*h = hook{prev: l.last, in: true}
	if l.last != nil {
		l.last.hooks[l.which].next = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *list) remove(c *conn) {
	h := &c.hooks[l.which]
	if !h.in {
		return
	}
	if h.prev != nil {
		h.prev.hooks[l.which].next = h.next
	} else {
		l.first = h.next
	}
	if h.next != nil {
		h.next.hooks[l.which].prev = h.prev
	} else {
		l.last = h.prev
	}
	*h = hook{}
}

// rotate puts a connection behind all others.
func (l *list) rotate(c *conn) {
	if c != l.last {
		l.remove(c)
		l.add(c)
	}
}
