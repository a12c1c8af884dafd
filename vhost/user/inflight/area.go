package inflight

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/vhost/user"
	"tandem/virtio/queue"
)

// The layout. QueueRegionSplit and DescStateSplit.
const (
	headerVersion = 8 // and desc_num above it, in one word of 32 bits
	headerUsed    = 12
	headerSize    = 16
	descSize      = 16
	descCounter   = 8
	align         = 64

	version = 1
)

// ErrLayout is why an area is refused.
var ErrLayout = errors.New("not an area for this device's requests")

// Area is the mapped file.
type Area struct {
	file   *os.File
	desc   user.Inflight
	stride uint64
	bytes  []byte // the whole mapping
	skip   uint64 // bytes of it before the area
}

// stride is how many bytes a queue takes.
func stride(queueSize uint16) uint64 {
	return (headerSize + descSize*uint64(queueSize) + align - 1) &^ (align - 1)
}

// New makes an area of zeros for so many queues, of up to queueSize entries each.
// Its file cannot be made shorter by whoever else has it.
func New(queues, queueSize uint16) (*Area, error) {
	d := user.Inflight{Size: uint64(queues) * stride(queueSize), Queues: queues, QueueSize: queueSize}
	fd, err := unix.MemfdCreate("vhost-inflight", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("inflight: make area: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(d.Size)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("inflight: make area of %d bytes: %w", d.Size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("inflight: seal area: %w", err)
	}
	return Open(fd, d)
}

// Open maps an area that a front-end kept. It takes the descriptor over, also when it
// fails.
func Open(fd int, d user.Inflight) (*Area, error) {
	file := os.NewFile(uintptr(fd), "vhost-inflight")
	a := &Area{file: file, desc: d, stride: stride(d.QueueSize)}
	if err := a.open(); err != nil {
		file.Close()
		return nil, fmt.Errorf("inflight: map area of %d bytes at %d for %d queues of %d: %w",
			d.Size, d.Offset, d.Queues, d.QueueSize, err)
	}
	return a, nil
}

func (a *Area) open() error {
	d := a.desc
	want := uint64(d.Queues) * a.stride
	if d.Queues == 0 || d.QueueSize == 0 || d.QueueSize > queue.MaxSize || d.Size < want {
		return fmt.Errorf("%w: want %d bytes", ErrLayout, want)
	}
	if d.Size > 1<<40 || d.Offset > 1<<40 || d.Offset%8 != 0 {
		return ErrLayout
	}
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || uint64(info.Size()) < d.Offset+d.Size {
		return fmt.Errorf("%w: the file has %d bytes", ErrLayout, info.Size())
	}
	a.skip = d.Offset % uint64(os.Getpagesize())
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	var mapErr error
	err = raw.Control(func(fd uintptr) {
		a.bytes, mapErr = unix.Mmap(int(fd), int64(d.Offset-a.skip), int(want+a.skip), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	})
	return errors.Join(err, mapErr)
}

// Description is what goes with the file in a message.
func (a *Area) Description() user.Inflight { return a.desc }

// File is the area's file, which stays the area's.
func (a *Area) File() *os.File { return a.file }

// Close unmaps the area and closes the file. No Queue of it may be used any more.
func (a *Area) Close() error {
	return errors.Join(unix.Munmap(a.bytes), a.file.Close())
}

// Queue is the part for one queue, which has size entries.
func (a *Area) Queue(i int, size uint16) (*Queue, error) {
	if i < 0 || i >= int(a.desc.Queues) || size > a.desc.QueueSize {
		return nil, fmt.Errorf("inflight: queue %d of %d entries: %w: it has %d queues of %d",
			i, size, ErrLayout, a.desc.Queues, a.desc.QueueSize)
	}
	b := a.bytes[a.skip+uint64(i)*a.stride:][:headerSize+descSize*uint64(size)]
	return newQueue(b, size), nil
}
