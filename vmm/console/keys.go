package console

const escape = 'a' & 0x1F // Ctrl-a

const helpText = "\r\n" +
	"Ctrl-a x  leave: end the machine\r\n" +
	"Ctrl-a h  list these keys\r\n" +
	"Ctrl-a a  send Ctrl-a\r\n"

// keys finds what is meant for the monitor in a stream of keys, however the
// stream is cut into pieces.
type keys struct {
	escaped bool // the last key was Ctrl-a
	left    bool // Ctrl-a x was seen: nothing after it counts
}

// filter keeps in p[:kept] what is for the guest. help asks for the list of keys,
// left to leave.
func (k *keys) filter(p []byte) (kept int, help, left bool) {
	for _, key := range p {
		switch {
		case k.left:
			return kept, help, false
		case !k.escaped && key == escape:
			k.escaped = true
			continue
		case !k.escaped:
			p[kept] = key
			kept++
			continue
		}
		k.escaped = false
		switch key {
		case 'x', 'X', 'x' & 0x1F:
			k.left, left = true, true
			return kept, help, left
		case 'h', 'H', '?', 'h' & 0x1F:
			help = true
		case 'a', 'A', escape:
			p[kept] = escape
			kept++
		}
	}
	return kept, help, left
}
