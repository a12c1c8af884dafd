package image

import (
	"io"
	"sync"
)

// progress adds up what several goroutines have done, for a Progress that is called by one at a time. A nil *progress
// tells nobody.
type progress struct {
	mu    sync.Mutex
	tell  Progress
	step  string
	done  int64
	total int64
	told  int64
}

// tellEvery is the number of bytes between two calls.
const tellEvery = 1 << 20

func newProgress(tell Progress) *progress {
	if tell == nil {
		return nil
	}
	return &progress{tell: tell}
}

// begin is the next step, with a total of bytes, or 0 if nobody knows.
func (p *progress) begin(step string, total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.total, p.done, p.told = step, total, 0, 0
	p.tell(step, 0, total)
}

// add is some bytes done.
func (p *progress) add(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.done-p.told >= tellEvery || p.done == p.total {
		p.told = p.done
		done := p.done
		if p.total > 0 {
			done = min(done, p.total)
		}
		p.tell(p.step, done, p.total)
	}
}

// progressReader adds what is read through it.
type progressReader struct {
	r   io.Reader
	add func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.add(int64(n))
	return n, err
}
