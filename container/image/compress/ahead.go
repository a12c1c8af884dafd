package compress

import (
	"io"
	"sync"
)

const (
	aheadBlocks = 4
	aheadSize   = 256 << 10
)

// ahead reads in a goroutine of its own, a few blocks ahead of its reader.
type ahead struct {
	full  chan block  // what was read; closed after the last
	empty chan []byte // to be filled
	stop  chan struct{}
	done  chan struct{} // closed when the goroutine has ended
	now   block
	once  sync.Once
}

// block is some bytes and the error after them.
type block struct {
	buffer []byte
	data   []byte // of buffer, what is not read yet
	err    error
}

// newAhead calls release once r is used no more.
func newAhead(r io.Reader, release func()) *ahead {
	a := &ahead{
		full:  make(chan block, aheadBlocks),
		empty: make(chan []byte, aheadBlocks),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	for range aheadBlocks {
		a.empty <- make([]byte, aheadSize)
	}
	go func() {
		defer close(a.done)
		defer release()
		defer close(a.full)
		for {
			select {
			case <-a.stop:
				return
			case buffer := <-a.empty:
				n, err := fill(r, buffer)
				a.full <- block{buffer: buffer, data: buffer[:n], err: err} // never full: there are as many as buffers
				if err != nil {
					return
				}
			}
		}
	}()
	return a
}

// fill is io.ReadFull, but an end is an end, however little came before it.
func fill(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.now.data) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buffer != nil {
			a.empty <- a.now.buffer
			a.now.buffer = nil
		}
		next, ok := <-a.full
		if !ok { // closed by Close
			return 0, io.ErrClosedPipe
		}
		a.now = next
	}
	n := copy(p, a.now.data)
	a.now.data = a.now.data[n:]
	return n, nil
}

// Close waits until what is read from is used no more. A read that hangs has to be ended by its source.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	<-a.done
	return nil
}
