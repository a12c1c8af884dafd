package boot

import (
	"errors"
	"io"
	"os"
)

// Format is how a kernel's file is built, told from its bytes.
type Format int

const (
	// BzImage is what distributions ship: a setup header, a small program that unpacks, and the compressed kernel.
	BzImage Format = iota + 1
	// ELF is an uncompressed kernel, Linux's vmlinux or another that follows its or Xen's PVH protocol.
	ELF
)

// Errors that callers tell apart with errors.Is. The errors returned wrap them with the file and the value at fault.
var (
	// ErrFormat is a file that is no kernel which boot knows.
	ErrFormat = errors.New("not a kernel that can be booted")
	// ErrCorrupt is a kernel that breaks its own format's rules.
	ErrCorrupt = errors.New("corrupt kernel")
	// ErrCompression is a payload whose compression boot has no decoder for; the kernel's own decompressor may.
	ErrCompression = errors.New("unknown compression")
	// ErrProtocol is a way to boot that the kernel doesn't offer.
	ErrProtocol = errors.New("boot protocol not offered by this kernel")
	// ErrNoRoom is memory too small for what has to lie in it.
	ErrNoRoom = errors.New("does not fit in the guest's memory")
	// ErrCmdline is a command line that the kernel would cut short.
	ErrCmdline = errors.New("command line not accepted by this kernel")
)

// Kernel is an opened kernel file whose headers have been read and checked. Its file stays open until Close, since a
// Plan refers to it.
type Kernel struct {
	// Path is the file that Open was given, also for a kernel that Unpack made from it.
	Path string
	// Format is the format of the file that will be loaded: ELF once unpacked.
	Format Format
	// Setup is the setup header, or nil if the kernel never had one (a plain vmlinux).
	Setup *SetupHeader
	// Image says what an ELF kernel wants loaded and where it is entered; nil for a bzImage.
	Image *Image
	// Version is the kernel's own name for itself ("6.1.0-56-cloud-amd64 (...) #1 SMP ..."), if the setup header has one.
	Version string

	file *os.File
	size int64
	// immutable is set for a file in the cache, which nobody writes to once it has its name: its pages may be mapped.
	immutable bool
}

// Close closes the kernel's file. A Plan made from the kernel cannot be loaded any more.
func (k *Kernel) Close() error { return k.file.Close() }

// Open opens the kernel at path and reads its headers; it never reads all of it.
func Open(path string) (*Kernel, error) { return nil, errors.ErrUnsupported }

// Unpack returns the ELF kernel inside k as a kernel of its own, whose file is kept in cacheDir so that the next start
// maps it instead of unpacking again. An ELF kernel is copied there too, in a layout that can be mapped and that nobody
// can change under a running guest. With cacheDir "" the file is an anonymous one that goes with the process.
//
// k stays open and belongs to the caller, as does the kernel returned.
func Unpack(k *Kernel, cacheDir string) (*Kernel, error) { return nil, errors.ErrUnsupported }

// Decompress writes the ELF inside a bzImage to w.
func (k *Kernel) Decompress(w io.Writer) error { return errors.ErrUnsupported }
