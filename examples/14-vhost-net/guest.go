package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/eventfd"
	"tandem/virtio/memory"
	"tandem/virtio/virtiotest"
)

// Where things are in what would be a guest's memory.
const (
	memorySize = 0x10000
	ringsAt    = 0x1000
	bufferAt   = 0x4000
	roomAt     = 0x5000
	roomSize   = 2048
	ringSize   = 4

	headerSize   = 12 // struct virtio_net_hdr_v1
	numBuffersAt = 10

	waitMS = 10000
)

// guest is memory, and two queues in it: all that a guest is to vhost.
type guest struct {
	region memory.Region
	mem    *memory.Space
	queues [2]*queue
	free   uint64
}

// queue is a driver's side: lesson 12's, ready-made.
type queue struct {
	*virtiotest.Ring
	kick, call *eventfd.FD
}

func newGuest() (g *guest, err error) {
	g = &guest{free: ringsAt}
	if g.region, err = memory.Map(0, memorySize); err != nil {
		return nil, err
	}
	if g.mem, err = memory.New(g.region); err != nil {
		return nil, errors.Join(err, g.close())
	}
	for i := range g.queues {
		q := &queue{Ring: virtiotest.NewRing(g.mem, ringSize, g.alloc)}
		q.EventIdx = true
		g.queues[i] = q
		if q.kick, err = eventfd.New(); err == nil {
			q.call, err = eventfd.New()
		}
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	return g, nil
}

func (g *guest) close() error {
	for _, q := range g.queues {
		if q != nil && q.kick != nil {
			q.kick.Close()
		}
		if q != nil && q.call != nil {
			q.call.Close()
		}
	}
	return g.region.Unmap()
}

func (g *guest) alloc(n, align uint64) uint64 {
	at := (g.free + align - 1) &^ (align - 1)
	g.free = at + n
	return at
}

// read is the guest's memory, which is all there.
func (g *guest) read(gpa uint64, n int) []byte { return g.region.Bytes[gpa:][:n] }

func (g *guest) write(gpa uint64, b []byte) { copy(g.region.Bytes[gpa:], b) }

// tap is the descriptor of the wire's tap.
func (g *guest) tap(w *wire) int { return int(w.tap.Fd()) }

// wait waits until the kernel gives a chain back.
func (q *queue) wait() (virtiotest.Used, error) {
	for {
		if u, ok := q.Take(); ok {
			q.WantCall(0) // for the next
			return u, nil
		}
		if q.WantCall(0) {
			continue
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(q.call.Fd()), Events: unix.POLLIN}}, waitMS)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return virtiotest.Used{}, errors.Join(errors.New("the kernel does not call"), os.NewSyscallError("poll", err))
		}
		if _, err := q.call.Clear(); err != nil {
			return virtiotest.Used{}, err
		}
	}
}

// draw prints a queue's tables as they are in memory.
func (g *guest) draw(ring int) {
	q := g.queues[ring]
	for i := range uint64(ringSize) {
		b := g.read(q.Desc+16*i, 16)
		length, flags := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint16(b[12:])
		if length == 0 {
			continue // never written
		}
		line := fmt.Sprintf("    desc  %d: %#x %4d bytes", i, binary.LittleEndian.Uint64(b), length)
		if flags&virtiotest.Write != 0 {
			line += " WRITE"
		}
		if flags&virtiotest.Next != 0 {
			line += fmt.Sprintf(" NEXT %d", binary.LittleEndian.Uint16(b[14:]))
		}
		fmt.Println(line)
	}
	var avail, used []string
	for i := range uint64(ringSize) {
		avail = append(avail, fmt.Sprint(binary.LittleEndian.Uint16(g.read(q.Avail+4+2*i, 2))))
		slot := g.read(q.Used+4+8*i, 8)
		used = append(used, fmt.Sprintf("%d:%d", binary.LittleEndian.Uint32(slot), binary.LittleEndian.Uint32(slot[4:])))
	}
	word := func(at uint64) uint16 { return binary.LittleEndian.Uint16(g.read(at, 2)) }
	fmt.Printf("    avail idx %d [%s]\n", word(q.Avail+2), strings.Join(avail, " "))
	fmt.Printf("    used  idx %d [%s]\n", word(q.Used+2), strings.Join(used, " "))
}

// frame is an Ethernet frame to nobody.
func frame(text string) []byte {
	b := []byte{0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, etherType >> 8, etherType & 0xff}
	b = append(b, text...)
	return append(b, make([]byte, 60-len(b))...)
}

func text(frame []byte) string { return string(bytes.TrimRight(frame[14:], "\x00")) }
