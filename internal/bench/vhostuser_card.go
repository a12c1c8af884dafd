package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/memory"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// Sizes of the driver's card.
const (
	cardQueue  = 256
	cardHeader = 12 // struct virtio_net_hdr_v1
	cardBuffer = 2048
	cardFrame  = 60
	cardMemory = 2 << 20
)

// cardFeatures are all that the driver knows.
const cardFeatures = 1<<virtio.FeatureVersion1 | 1<<15 // VIRTIO_NET_F_MRG_RXBUF

// cardDriver is a network card's driver: two rings in memory that the back-end maps, and their eventfds.
type cardDriver struct {
	memory memory.Region
	server *frontend.Device
	in     *cardRing
	out    *cardRing
	active bool
	failed atomic.Pointer[error]
}

// cardRing is one of them.
type cardRing struct {
	*virtiotest.Ring
	queue      *queue.Queue
	kick, call *eventfd.FD
	free       []uint64          // buffers that are the driver's
	held       [cardQueue]uint64 // by head: the buffer that is the device's
}

// callEvent is a queue.Interrupt: the back-end signals it itself.
type callEvent struct{ event *eventfd.FD }

func (c callEvent) Signal()            { _ = c.event.Signal() }
func (c callEvent) Event() *eventfd.FD { return c.event }

// newCardDriver makes the rings and has the back-end serve them.
func newCardDriver(server *frontend.Device) (c *cardDriver, err error) {
	c = &cardDriver{server: server}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.memory, err = memory.MapShared(0, cardMemory); err != nil {
		return c, err
	}
	space, err := memory.New(c.memory)
	if err != nil {
		return c, err
	}
	at := uint64(0)
	alloc := func(n, align uint64) uint64 {
		at = (at+align-1)&^(align-1) + n
		return at - n
	}
	for i, r := range []**cardRing{&c.in, &c.out} {
		if *r, err = newCardRing(i, space, alloc); err != nil {
			return c, err
		}
	}
	for _, gpa := range c.out.free {
		frame, err := space.Slice(gpa+cardHeader, cardFrame)
		if err != nil {
			return c, err
		}
		copy(frame, benchFrame())
	}
	err = server.Activate(&virtio.Activation{
		Memory: space, Features: server.Features()&cardFeatures | 1<<virtio.FeatureVersion1,
		Queues:       []virtio.Queue{c.in.device(), c.out.device()},
		UpdateConfig: func(change func()) { change() },
		Fail:         func(err error) { c.failed.Store(&err) },
	})
	c.active = err == nil
	return c, err
}

func newCardRing(i int, space *memory.Space, alloc func(n, align uint64) uint64) (r *cardRing, err error) {
	r = &cardRing{Ring: virtiotest.NewRing(space, cardQueue, alloc)}
	if r.kick, err = eventfd.New(); err != nil {
		return r, err
	}
	if r.call, err = eventfd.New(); err != nil {
		return r, err
	}
	for range cardQueue {
		r.free = append(r.free, alloc(cardBuffer, cardBuffer))
	}
	r.queue, err = queue.New(space, queue.Config{
		Index: i, Size: cardQueue, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Interrupt: callEvent{r.call},
	})
	return r, err
}

// benchFrame is an Ethernet frame to nobody, so that the other end's stack drops it first of all.
func benchFrame() []byte {
	return append([]byte{0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xb5}, make([]byte, cardFrame-14)...)
}

func (r *cardRing) device() virtio.Queue { return virtio.Queue{Queue: r.queue, Kick: r.kick} }

// close ends what there is.
func (c *cardDriver) close() {
	if c.active {
		c.server.Reset()
	}
	for _, r := range []*cardRing{c.in, c.out} {
		if r == nil {
			continue
		}
		for _, e := range []*eventfd.FD{r.kick, r.call} {
			if e != nil {
				e.Close()
			}
		}
	}
	if c.memory.Bytes != nil {
		c.memory.Unmap()
	}
}

// offer gives the device all buffers that the driver has, of n bytes each.
func (r *cardRing) offer(n uint32, write bool) error {
	if len(r.free) == 0 {
		return nil
	}
	for _, gpa := range r.free {
		r.held[r.Put(virtiotest.Piece{GPA: gpa, Len: n, Write: write})] = gpa
	}
	r.free = r.free[:0]
	r.Publish()
	if r.NeedsKick() {
		return r.kick.Signal()
	}
	return nil
}

// take takes back what the device has done with.
func (r *cardRing) take() (n int, err error) {
	for {
		u, ok := r.Take()
		if !ok {
			return n, nil
		}
		if u.Head >= cardQueue {
			return n, fmt.Errorf("the back-end gave back chain %d of %d", u.Head, cardQueue)
		}
		r.free = append(r.free, r.held[u.Head])
		n++
	}
}

// run offers and takes until the time is over, and counts. It sleeps while there is nothing to take.
func (c *cardDriver) run(r *cardRing, d time.Duration, size uint32, write bool) (frames int, err error) {
	const patience = 20 // ms, to look whether the time is over
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := r.offer(size, write); err != nil {
			return frames, err
		}
		n, err := r.take()
		if err != nil {
			return frames, err
		}
		frames += n
		if n > 0 || r.WantCall(0) {
			r.NoCall()
			continue
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(r.call.Fd()), Events: unix.POLLIN}}, patience); err != nil && err != unix.EINTR {
			return frames, err
		}
		if _, err := r.call.Clear(); err != nil {
			return frames, err
		}
		r.NoCall()
	}
	if failed := c.failed.Load(); failed != nil {
		return frames, *failed
	}
	return frames, nil
}

// send sends frames for a time, and counts those that come out of the tap: a back-end may take frames and drop them.
func (b *backEnd) send(d time.Duration) (frames int, err error) {
	before, err := b.arrived()
	if err != nil {
		return 0, err
	}
	if _, err := b.card.run(b.card.out, d, cardHeader+cardFrame, false); err != nil {
		return 0, err
	}
	after, err := b.arrived()
	return after - before, err
}

// arrived is how many frames the tap's link has received so far, in the back-end's network namespace.
func (b *backEnd) arrived() (int, error) {
	name := fmt.Sprintf("/proc/%d/net/dev", b.cmd.Process.Pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		link, counters, _ := strings.Cut(line, ":")
		if strings.TrimSpace(link) == benchTap {
			var bytes, packets int
			_, err := fmt.Sscan(counters, &bytes, &packets)
			return packets, err
		}
	}
	return 0, fmt.Errorf("%s: no %s", name, benchTap)
}

// receive has frames sent to the tap for a time, as many as it takes, and counts those that arrive.
func (b *backEnd) receive(d time.Duration) (frames int, err error) {
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		frame := benchFrame()
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			// A full queue of the tap's is no error for the sender: what arrives counts.
			if _, err := unix.Write(b.wire, frame); err != nil && err != unix.ENOBUFS {
				stopped <- err
				return
			}
		}
	}()
	frames, err = b.card.run(b.card.in, d, cardBuffer, true)
	close(stop)
	if sendErr := <-stopped; err == nil {
		err = sendErr
	}
	return frames, err
}
