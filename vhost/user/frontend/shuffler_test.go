package frontend_test

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tandem/virtio"
	"tandem/virtio/queue"
)

// shuffler is a disk that takes several requests at once, carries them out in an
// order of its own, and gives them back in batches. It knows IN, OUT and FLUSH, and
// trusts its driver.
type shuffler struct {
	virtio.Device // a disk's: its configuration, but not how to stop a single queue
	file          *os.File
	delay         time.Duration // before each request

	stopping atomic.Bool
	workers  sync.WaitGroup
	queues   []virtio.Queue
}

// Activate starts a goroutine a queue.
func (s *shuffler) Activate(a *virtio.Activation) error {
	s.stopping.Store(false)
	s.queues = a.Queues
	for _, q := range a.Queues {
		if q.Queue != nil {
			s.workers.Go(func() { s.serve(q) })
		}
	}
	return nil
}

// Reset ends them.
func (s *shuffler) Reset() {
	s.stopping.Store(true)
	for _, q := range s.queues {
		if q.Queue != nil {
			_ = q.Kick.Signal()
		}
	}
	s.workers.Wait()
}

func (s *shuffler) serve(q virtio.Queue) {
	for !s.stopping.Load() {
		if batch := pop(q.Queue); len(batch) > 0 {
			s.carryOut(q.Queue, batch)
			continue
		}
		if q.EnableKicks() {
			continue
		}
		if _, err := q.Kick.Wait(); err != nil {
			return
		}
	}
}

func pop(q *queue.Queue) (batch []*queue.Chain) {
	for len(batch) < 12 {
		c := new(queue.Chain)
		if ok, err := q.Pop(c); err != nil || !ok {
			break
		}
		batch = append(batch, c)
	}
	rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	return batch
}

func (s *shuffler) carryOut(q *queue.Queue, batch []*queue.Chain) {
	for _, c := range batch {
		time.Sleep(s.delay)
		q.Push(c.Head, s.request(c))
		if rand.IntN(3) == 0 {
			q.Publish()
		}
	}
	q.Publish()
}

func (s *shuffler) request(c *queue.Chain) uint32 {
	head := c.Readable[0]
	at := int64(binary.LittleEndian.Uint64(head[8:])) * 512
	var err error
	switch binary.LittleEndian.Uint32(head) {
	case blkOut:
		_, err = s.file.WriteAt(c.Readable[1], at)
	case blkIn:
		_, err = io.ReadFull(io.NewSectionReader(s.file, at, 512), c.Writable[0])
	}
	status := c.Writable[len(c.Writable)-1]
	status[0] = 0
	if err != nil {
		status[0] = 1
	}
	return uint32(c.WriteLen)
}
