package vsock

// take copies the first bytes of a list of pieces out, and gives what is behind them. There have to be that many.
func take(pieces [][]byte, into []byte) [][]byte {
	for len(into) > 0 {
		n := copy(into, pieces[0])
		into = into[n:]
		pieces = skip(pieces, n)
	}
	return pieces
}

// skip gives what is behind the first n bytes of a list of pieces, which it changes.
func skip(pieces [][]byte, n int) [][]byte {
	for n > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}

// cut shortens a list of pieces to n bytes. There have to be that many.
func cut(pieces [][]byte, n int) [][]byte {
	for i, p := range pieces {
		if n <= len(p) {
			pieces[i] = p[:n]
			if n == 0 {
				return pieces[:i]
			}
			return pieces[:i+1]
		}
		n -= len(p)
	}
	return pieces
}

// put copies b to the beginning of a list of pieces, and gives what is behind it.
func put(pieces [][]byte, b []byte) [][]byte {
	for len(b) > 0 {
		n := copy(pieces[0], b)
		b = b[n:]
		pieces = skip(pieces, n)
	}
	return pieces
}
