package net

import (
	"errors"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/internal/iovec"
	"tandem/virtio/queue"
)

// ethernetHeader is the length of the header of an Ethernet frame.
const ethernetHeader = 14

// transmitter serves one transmitq.
type transmitter struct {
	device *Device
	stats  *counters
	raw    rawFile
	err    error // of raw: the file is closed
	vector iovec.Vector

	// What the last write gave. They are here, and write is, as a variable that a closure captures would be allocated
	// for each frame.
	n       int
	errno   error
	writing func(fd uintptr)
}

func newTransmitter(d *Device, pair int) *transmitter {
	t := &transmitter{device: d, stats: &d.stats[pair].transmit}
	t.raw, t.err = newRawFile(d.spec.Backend.File(pair))
	t.writing = func(fd uintptr) { t.n, t.errno = t.vector.Writev(fd) }
	return t
}

// serve is a virtio.Serve: a chain is a header and a frame, which the backend takes as they are.
func (t *transmitter) serve(q *queue.Queue, c *queue.Chain) (uint32, error) {
	switch {
	case c.ReadLen < HeaderSize+ethernetHeader:
		t.stats.drop(DropShort)
		return 0, nil
	case c.ReadLen > HeaderSize+maxFrame, len(c.Readable) > iovec.Max:
		t.stats.drop(DropLong)
		return 0, nil
	}
	if wait := t.device.Transmit.Wait(); wait > 0 {
		return 0, virtio.Later(wait)
	}
	t.device.Transmit.Spend(c.ReadLen - HeaderSize)
	t.vector.Reset()
	t.vector.Add(c.Readable)
	if err := t.write(); err != nil {
		t.stats.drop(reasonOf(err))
		return 0, nil
	}
	q.Stamp(queue.FrameSent, c.Head, c.Index, c.ReadLen)
	t.stats.moved(int(c.ReadLen) - HeaderSize)
	return 0, nil
}

func (t *transmitter) write() error {
	if t.err != nil {
		return t.err
	}
	if err := t.raw.Control(t.writing); err != nil {
		return err
	}
	return t.errno
}

// reasonOf is why a tap refused a frame: drivers/net/tun.c, tun_get_user.
func reasonOf(err error) Drop {
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return DropFull
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EFAULT), errors.Is(err, unix.EMSGSIZE):
		return DropMalformed
	}
	return DropDown // EIO; EBADFD, once the tap is gone
}
