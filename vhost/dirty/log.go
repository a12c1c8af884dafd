// Package dirty is the log of dirty pages that vhost devices keep: a bitmap with a bit for each page of guest memory,
// which whoever serves a virtqueue sets for each page that it has written.
//
// A monitor that sends a guest's memory elsewhere while the guest runs (live migration) copies all of it, then what was
// written meanwhile, and so on until so little is left that the guest can be stopped for it. KVM tells which pages the
// vCPUs wrote (KVM_GET_DIRTY_LOG). It knows nothing of those that a device wrote through a mapping of its own, in the
// kernel or in another process:
//
//	guest address   0      0x1000  0x2000  0x3000  0x4000 ...
//	                |  0   |  1    |  2    |  3    |  4
//	bitmap          byte 0, bit 0 1 2 3 4 ...; page 8 is byte 1, bit 0
//	                  ^
//	device:  1. write the buffer    2. set its pages' bits     3. publish the used index
//	                                   the same for the used ring
//	monitor: swap a word for 0, and only then copy the pages whose bits were set
//
// The order makes it whole: a page that is written after it was copied has its bit set after it was cleared. Both sides
// use atomic operations, as other bits of the word are other writers'.
//
// Pages are of 4096 bytes whatever the machine's are (VHOST_PAGE_SIZE in drivers/vhost/vhost.c, VHOST_LOG_PAGE of
// vhost-user), and the bits of a byte count from the lowest, as those of a little-endian word do.
package dirty

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tandem/vhost"
	"tandem/virtio/memory"
)

// PageSize is what one bit stands for.
const PageSize = 4096

const (
	pagesPerWord = 64
	wordSize     = 8
	maxSize      = 1 << 40 // bytes, for 32 EiB
)

// Why a log is refused.
var (
	// ErrTooSmall is a log that has no bits for some of guest memory.
	ErrTooSmall = errors.New("the log is too small for the memory")
	// ErrLayout is a size or offset that no log can have, or a file that is none.
	ErrLayout = errors.New("not the layout of a log")
)

// Log is a bitmap, shared between those who set its bits and the one who takes them. Any number of goroutines may use it
// at the same time, but for Close.
type Log struct {
	file    *os.File // nil for one that Open has mapped
	mapping []byte
	bytes   []byte
	words   []uint64
}

// Size is how many bytes the log of a guest's memory has: it ends with the memory, and whole words.
func Size(mem *memory.Space) uint64 {
	regions := mem.Regions()
	if len(regions) == 0 {
		return 0
	}
	last := (regions[len(regions)-1].End() - 1) / PageSize
	return (last/pagesPerWord + 1) * wordSize
}

// New makes the log of a guest's memory, with no bit set, in a file that can be passed on. Nobody can change its size.
func New(mem *memory.Space) (*Log, error) {
	size := Size(mem)
	if size == 0 {
		return nil, fmt.Errorf("dirty: new log: %w: no memory", ErrLayout)
	}
	r, err := memory.MapShared(0, (size+uint64(os.Getpagesize())-1)&^uint64(os.Getpagesize()-1))
	if err != nil {
		return nil, fmt.Errorf("dirty: new log: %w", err)
	}
	b := r.Bytes[:size]
	return &Log{file: r.File, mapping: r.Bytes, bytes: b, words: words(b)}, nil
}

// Open maps a log that somebody else has made: size bytes at an offset of a regular file. The descriptor stays the
// caller's. Who holds the file may cut it short at any time, unless it is sealed: see memory.Guard.
func Open(file *os.File, size, offset uint64) (*Log, error) {
	fail := func(err error) (*Log, error) {
		return nil, fmt.Errorf("dirty: open log of %#x bytes at %#x: %w", size, offset, err)
	}
	if size < wordSize || size > maxSize || offset > maxSize || offset%wordSize != 0 {
		return fail(ErrLayout)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		return fail(err)
	case !info.Mode().IsRegular():
		return fail(fmt.Errorf("%w: a file of type %v", ErrLayout, info.Mode().Type()))
	case uint64(info.Size()) < offset+size:
		return fail(fmt.Errorf("%w: the file has %#x bytes", ErrLayout, info.Size()))
	}
	_, _ = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK) // if it can be sealed
	skip := offset % uint64(os.Getpagesize())
	mapping, err := unix.Mmap(int(file.Fd()), int64(offset-skip), int(skip+size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fail(err)
	}
	b := mapping[skip : skip+size&^(wordSize-1)]
	return &Log{mapping: mapping, bytes: b, words: words(b)}, nil
}

// Close gives the log back. Nobody may be using it.
func (l *Log) Close() error {
	err := unix.Munmap(l.mapping)
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}

// File holds the bitmap of a log that New made, from its start on. It stays the Log's.
func (l *Log) File() *os.File { return l.file }

// Size is the bitmap's, in bytes.
func (l *Log) Size() uint64 { return uint64(len(l.bytes)) }

// Address is where the bitmap is in this process.
func (l *Log) Address() uint64 { return vhost.Address(l.bytes) }

// Covers tells whether there is a bit for each page of a guest's memory. The error wraps ErrTooSmall.
func (l *Log) Covers(mem *memory.Space) error {
	if need := Size(mem); need > l.Size() {
		return fmt.Errorf("dirty: %w: %#x bytes, want %#x", ErrTooSmall, l.Size(), need)
	}
	return nil
}

// Holds tells whether there is a bit for each page of a range.
func (l *Log) Holds(gpa, n uint64) bool {
	end := uint64(len(l.words)) * pagesPerWord * PageSize
	return gpa <= end && n <= end-gpa
}

// Mark sets the bits of the pages that n bytes lie in, which the caller has written. Pages beyond the log have none.
func (l *Log) Mark(gpa, n uint64) {
	if n == 0 {
		return
	}
	for page, last := gpa/PageSize, (gpa+n-1)/PageSize; page <= last; page++ {
		i := page / pagesPerWord
		if i >= uint64(len(l.words)) {
			return
		}
		// Also where the bit can be seen to be set: a plain load may be done before the write of the page is seen by the
		// one who clears the bit and copies the page.
		atomic.OrUint64(&l.words[i], 1<<(page%pagesPerWord))
	}
}

// Take clears the bits that are set, and gives the guest addresses of their pages in rising order. A page that is written
// from the moment on at which it was given has its bit set again. A loop that stops early may lose up to 64 pages.
func (l *Log) Take() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range l.words {
			if atomic.LoadUint64(&l.words[i]) == 0 {
				continue // most are: no need to have the cache line to write to
			}
			for word := atomic.SwapUint64(&l.words[i], 0); word != 0; word &= word - 1 {
				if !yield((uint64(i)*pagesPerWord + uint64(bits.TrailingZeros64(word))) * PageSize) {
					return
				}
			}
		}
	}
}
