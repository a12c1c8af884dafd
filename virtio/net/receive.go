package net

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/virtio"
	"tandem/virtio/internal/iovec"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// numBuffersAt is where the number of buffers stands in the header: virtio_net_hdr_v1.num_buffers.
const numBuffersAt = 10

// receivers are the receive queues' goroutines.
type receivers struct {
	mu     sync.RWMutex // guards list and server: kick reads them at any time
	list   []*receiver  // by pair; nil for one that is not served
	server []virtio.Queue

	device *Device
}

func (r *receivers) start(d *Device, a *virtio.Activation) {
	r.mu.Lock()
	r.device = d
	r.list = make([]*receiver, d.spec.Pairs)
	r.server = nil
	if d.served != nil {
		r.server = d.served.Queues
	}
	r.mu.Unlock()
	if d.spec.Server != nil {
		return
	}
	for pair := range d.spec.Pairs {
		if q := a.Queues[2*pair]; q.Queue != nil && 2*pair != d.controlAt {
			r.startOne(pair, q)
		}
	}
}

func (r *receivers) startOne(pair int, q virtio.Queue) {
	x := newReceiver(r.device, pair, q)
	r.mu.Lock()
	r.list[pair] = x
	r.mu.Unlock()
	go x.run()
}

func (r *receivers) stopOne(pair int) {
	r.mu.Lock()
	x := r.list[pair]
	r.list[pair] = nil
	r.mu.Unlock()
	if x != nil {
		x.stop()
		x.join()
	}
}

func (r *receivers) stop() {
	r.mu.Lock()
	list := r.list
	r.list, r.server = nil, nil
	r.mu.Unlock()
	for _, x := range list {
		if x != nil {
			x.stop()
		}
	}
	for _, x := range list {
		if x != nil {
			x.join()
		}
	}
}

// served is how many of the first pairs have a receiver.
func (r *receivers) served() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for pair, x := range r.list {
		if x == nil {
			return pair
		}
	}
	return len(r.list)
}

// wake has the goroutines of some pairs look whether they are in use.
func (r *receivers) wake(from, to int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for pair := from; pair < min(to, len(r.list)); pair++ {
		if x := r.list[pair]; x != nil {
			_ = x.queue.Kick.Signal()
		}
	}
}

// kick passes a notification of a receive queue on to its goroutine, and tells whether the queue is one.
func (r *receivers) kick(queue int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if transmits(queue) || queue/2 >= len(r.list) {
		return false
	}
	x := r.list[queue/2]
	if x == nil {
		return false
	}
	_ = x.queue.Kick.Signal() // an error is that it was closed: nobody is left to wake
	return true
}

// kickAll ends a wait for buffers, or for a limit.
func (r *receivers) kickAll() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, x := range r.list {
		if x != nil {
			_ = x.queue.Kick.Signal()
		}
	}
}

// kickServer passes a notification on to whoever serves the queue elsewhere.
func (d *Device) kickServer(queue int) bool {
	r := &d.receivers
	r.mu.RLock()
	defer r.mu.RUnlock()
	if queue >= len(r.server) || r.server[queue].Queue == nil {
		return false
	}
	_ = r.server[queue].Kick.Signal()
	return true
}

// receiver serves one receiveq: it reads frames from the backend into the driver's buffers.
type receiver struct {
	device    *Device
	pair      int
	stats     *counters
	queue     virtio.Queue
	file      *os.File
	raw       rawFile
	mergeable bool
	enough    uint64 // bytes of buffers to have in hand

	stopping atomic.Bool
	done     chan struct{}

	// What its thread sleeps in: kicks alone, or frames too. Whoever wants something of it kicks.
	kicks, frames *eventfd.Waiter

	// The hand: buffers that were popped and not pushed yet, in a ring, oldest first.
	hand   []queue.Chain
	first  int
	held   int
	unseen int    // frames that were pushed and not published yet
	room   uint64 // bytes in all of them
	pieces int
	full   bool // no more can be read into at once

	vector iovec.Vector
	spill  []byte // what a frame has beyond the hand

	// What the last read gave: see transmitter.
	n       int
	errno   error
	reading func(fd uintptr)
}

func newReceiver(d *Device, pair int, q virtio.Queue) *receiver {
	r := &receiver{
		device: d, pair: pair, stats: &d.stats[pair].receive, queue: q, file: d.spec.Backend.File(pair),
		mergeable: d.agreed&(1<<FeatureMergeable) != 0,
		done:      make(chan struct{}),
		hand:      make([]queue.Chain, q.Config().Size),
		spill:     make([]byte, HeaderSize+maxFrame+1),
	}
	frame := ethernetHeader + 4 + max(1500, int(d.spec.MTU))
	if d.agreed&guestSegments != 0 {
		frame = maxFrame
	}
	r.enough = uint64(HeaderSize + frame)
	r.reading = func(fd uintptr) { r.n, r.errno = r.vector.Readv(fd) }
	return r
}

// errCut ends a receiver, and harms nobody else.
var errCut = errors.New("the backend is gone")

func (r *receiver) run() {
	defer close(r.done)
	err := r.open()
	if err == nil {
		// Memory that belongs to another process (vhost-user) may have nothing behind it any more.
		if fault := memory.Guard(func() { err = r.loop() }); fault != nil {
			err = fault
		}
	}
	r.close()
	if err != nil && !errors.Is(err, errCut) && !r.dead() {
		r.device.workers.Fail(err)
	}
	r.queue.Rewind(uint16(r.held))
}

func (r *receiver) open() (err error) {
	if r.raw, err = newRawFile(r.file); err != nil {
		return err
	}
	if r.kicks, err = r.queue.Kick.NewWaiter(); err != nil {
		return cutIfClosed(err)
	}
	r.frames, err = r.queue.Kick.NewWaiter(r.file)
	return cutIfClosed(err)
}

func (r *receiver) close() {
	for _, w := range []*eventfd.Waiter{r.kicks, r.frames} {
		if w != nil {
			w.Close()
		}
	}
}

// cutIfClosed is for a Waiter's error: there are no more kicks, as a vhost-user back-end is about to stop the queue.
func cutIfClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return errCut
	}
	return err
}

// dead tells whether the queue must be left alone.
func (r *receiver) dead() bool { return r.stopping.Load() || r.device.workers.Failed() }

func (r *receiver) loop() error {
	defer func() {
		if !r.device.workers.Failed() {
			r.publish()
		}
	}()
	r.queue.DisableKicks()
	for !r.dead() {
		if !r.inUse() {
			if err := r.sleep(); err != nil {
				return err
			}
			continue
		}
		if err := r.fill(r.enough); err != nil {
			return err
		}
		if r.held == 0 {
			if err := r.waitForBuffers(); err != nil {
				return err
			}
			continue
		}
		if wait := r.device.Receive.Wait(); wait > 0 {
			if err := r.pause(wait); err != nil {
				return err
			}
			continue
		}
		ok, err := r.read()
		if err == nil && ok {
			err = r.deliver()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inUse tells whether frames come to this pair at all.
func (r *receiver) inUse() bool { return r.pair < int(r.device.pairs.Load()) }

// fill takes buffers into the hand until there are enough bytes, or no more buffers. Without VIRTIO_NET_F_MRG_RXBUF one
// buffer is all that a frame can have.
func (r *receiver) fill(enough uint64) error {
	r.full = r.held == len(r.hand)
	for !r.full && r.room < enough && (r.mergeable || r.held == 0) {
		c := &r.hand[(r.first+r.held)%len(r.hand)]
		ok, err := r.queue.Pop(c)
		if err != nil || !ok {
			return err
		}
		switch {
		case c.WriteLen < HeaderSize:
			return r.queue.Broken(c, "a receive buffer without room for a header")
		case len(c.Writable) > maxPieces:
			return r.queue.Broken(c, "a receive buffer in more pieces than a system call takes")
		case r.pieces+len(c.Writable) > maxPieces:
			r.queue.Rewind(1)
			r.full = true
			return nil
		}
		r.held++
		r.room += c.WriteLen
		r.pieces += len(c.Writable)
		r.full = r.held == len(r.hand)
	}
	return nil
}

// maxPieces is what one readv takes beside the spill.
const maxPieces = iovec.Max - 1

// waitForBuffers sleeps until the driver posts some.
func (r *receiver) waitForBuffers() error {
	r.publish()
	if r.queue.EnableKicks() {
		r.queue.DisableKicks()
		return nil
	}
	if err := r.sleep(); err != nil {
		return err
	}
	r.queue.Kicked()
	r.queue.DisableKicks()
	return nil
}

// pause sleeps until the limit allows a frame.
func (r *receiver) pause(wait time.Duration) error {
	timer := time.AfterFunc(wait, func() { _ = r.queue.Kick.Signal() })
	defer timer.Stop()
	return r.sleep()
}

// sleep waits for a kick, a timer or stop.
func (r *receiver) sleep() error {
	r.publish()
	return cutIfClosed(r.kicks.Wait())
}

// read waits for a frame and reads it, into the hand and the spill. It is false when it was woken before one came.
func (r *receiver) read() (bool, error) {
	r.vector.Reset()
	for i := range r.held {
		r.vector.Add(r.hand[(r.first+i)%len(r.hand)].Writable)
	}
	r.vector.AddOne(r.spill)
	for {
		if err := r.raw.Control(r.reading); err != nil {
			return false, err
		}
		if r.dead() || !r.inUse() {
			return false, nil
		}
		if !errors.Is(r.errno, unix.EAGAIN) {
			return r.check()
		}
		r.publish()
		if err := r.frames.Wait(); err != nil {
			return false, cutIfClosed(err)
		}
	}
}

// check tells whether what was read is a frame.
func (r *receiver) check() (bool, error) {
	switch {
	case errors.Is(r.errno, unix.EBADFD), errors.Is(r.errno, unix.EIO):
		// Somebody has removed the tap: the cable is cut, and the card itself is as good as ever.
		r.device.report(&os.PathError{Op: "read", Path: r.file.Name(), Err: r.errno})
		go r.device.SetLink(false) // not from here: a reset that waits for this goroutine may hold what it needs
		return false, errCut
	case r.errno == nil && r.n == 0:
		return false, errCut // a socket whose other end was closed
	case r.errno != nil:
		return false, &os.PathError{Op: "read", Path: r.file.Name(), Err: r.errno}
	}
	return true, nil
}

// deliver gives the driver the frame that was read.
func (r *receiver) deliver() error {
	n := uint64(r.n)
	first := &r.hand[r.first]
	switch {
	case n < HeaderSize+ethernetHeader:
		r.stats.drop(DropShort)
		return nil
	case n > r.room && !r.mergeable, n >= r.room+uint64(len(r.spill)):
		r.stats.drop(DropTruncated)
		return nil
	}
	r.device.Receive.Spend(n - HeaderSize)
	r.queue.Stamp(queue.FrameReceived, first.Head, first.Index, n)
	var head [HeaderSize + peekSize]byte
	peeked := r.peek(head[:], n)
	if !r.device.filter.accepts(peeked[HeaderSize:]) {
		r.stats.drop(DropFiltered)
		return nil
	}
	if n > r.room {
		if ok, err := r.place(r.spill[:n-r.room]); err != nil || !ok {
			return err
		}
	}
	used := r.buffersFor(n)
	var number [2]byte
	binary.LittleEndian.PutUint16(number[:], uint16(used))
	put(first.Writable, numBuffersAt, number[:])
	left := n
	for range used {
		c := &r.hand[r.first]
		written := min(left, c.WriteLen)
		left -= written
		r.queue.Push(c.Head, uint32(written))
		r.drop(c)
	}
	r.stats.moved(int(n) - HeaderSize)
	if r.unseen++; r.unseen == batch {
		r.publish()
	}
	return nil
}

// batch is how many frames the driver may have to wait for before it sees the first of them. They are those that are there
// already: whenever there is no next one, or something else to wait for, it sees what it has.
const batch = 64

// publish lets the driver see the frames that it has got.
func (r *receiver) publish() {
	r.queue.Publish()
	r.unseen = 0
}

// drop takes the oldest buffer out of the hand.
func (r *receiver) drop(c *queue.Chain) {
	r.room -= c.WriteLen
	r.pieces -= len(c.Writable)
	r.first = (r.first + 1) % len(r.hand)
	r.held--
}

// place copies what a frame has beyond the hand into buffers that come after it, and waits for those that are not there
// yet. The frame is lost if the queue is stopped meanwhile, or if all the buffers that there can be are too small.
func (r *receiver) place(rest []byte) (bool, error) {
	for len(rest) > 0 {
		had := r.held
		if err := r.fill(r.room + uint64(len(rest))); err != nil {
			return false, err
		}
		if r.held == had {
			if r.full {
				r.stats.drop(DropTruncated)
				return false, nil
			}
			if err := r.waitForBuffers(); err != nil || r.dead() {
				return false, err
			}
			continue
		}
		for i := had; i < r.held; i++ {
			for _, p := range r.hand[(r.first+i)%len(r.hand)].Writable {
				rest = rest[copy(p, rest):]
			}
		}
	}
	return true, nil
}

// buffersFor is how many of the hand hold n bytes.
func (r *receiver) buffersFor(n uint64) int {
	used := 0
	for left := uint64(0); left < n; used++ {
		left += r.hand[(r.first+used)%len(r.hand)].WriteLen
	}
	return used
}

// peek copies the beginning of a frame of n bytes out of the hand.
func (r *receiver) peek(into []byte, n uint64) []byte {
	into = into[:min(uint64(len(into)), n)]
	got := 0
	for i := 0; i < r.held && got < len(into); i++ {
		for _, p := range r.hand[(r.first+i)%len(r.hand)].Writable {
			got += copy(into[got:], p)
		}
	}
	copy(into[got:], r.spill)
	return into
}

// put writes bytes at an offset of a list of pieces that is long enough.
func put(pieces [][]byte, off int, b []byte) {
	for _, p := range pieces {
		if off >= len(p) {
			off -= len(p)
			continue
		}
		n := copy(p[off:], b)
		if b, off = b[n:], 0; len(b) == 0 {
			return
		}
	}
}

// stop asks the goroutine to end.
func (r *receiver) stop() {
	r.stopping.Store(true)
	_ = r.queue.Kick.Signal()
}

// join waits until it has ended.
func (r *receiver) join() {
	<-r.done
	_, _ = r.queue.Kick.Clear()
}
