package image

import (
	"context"
	"io"
)

// A pipeReader is a reader that gives up when ctx is done, also in the middle of a Read of what it reads from: that of a
// pipe returns when its other end writes or closes it, and may never.
type pipeReader struct {
	ctx    context.Context
	r      io.Reader
	buffer []byte
}

func (p *pipeReader) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	if p.buffer == nil {
		p.buffer = make([]byte, 256<<10) // not b, which is the caller's again when this returns
	}
	type result struct {
		n   int
		err error
	}
	read := make(chan result, 1)
	part := p.buffer[:min(len(p.buffer), len(b))]
	go func() {
		n, err := p.r.Read(part)
		read <- result{n, err}
	}()
	select {
	case got := <-read:
		return copy(b, part[:got.n]), got.err
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
}
