package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Format is how a kernel's file is built, told from its bytes.
type Format int

const (
	// BzImage is what distributions ship: a setup header, a small program that unpacks, and the compressed kernel.
	BzImage Format = iota + 1
	// ELF is an uncompressed kernel, Linux's vmlinux or another that follows its or Xen's PVH protocol.
	ELF
)

func (f Format) String() string {
	switch f {
	case BzImage:
		return "bzImage"
	case ELF:
		return "ELF"
	}
	return fmt.Sprintf("Format(%d)", int(f))
}

// Errors that callers tell apart with errors.Is. The errors returned wrap them, with the file and the value at fault.
var (
	// ErrFormat is a file that is no kernel which boot knows.
	ErrFormat = errors.New("not a kernel that can be booted")
	// ErrCorrupt is a kernel that breaks its own format's rules.
	ErrCorrupt = errors.New("corrupt kernel")
	// ErrCompression is a payload whose compression boot has no decoder for; the kernel's own decompressor has.
	ErrCompression = errors.New("unknown compression")
	// ErrProtocol is a way to boot that the kernel doesn't offer.
	ErrProtocol = errors.New("boot protocol not offered by this kernel")
	// ErrNoRoom is memory too small for what has to lie in it.
	ErrNoRoom = errors.New("does not fit in the guest's memory")
	// ErrCmdline is a command line that the kernel would cut short.
	ErrCmdline = errors.New("command line not accepted by this kernel")
	// ErrSpec is a Spec that no kernel could be booted with.
	ErrSpec = errors.New("invalid boot spec")
)

// Kernel is an opened kernel file whose headers have been read and checked. Its file stays open until Close, since a
// Plan refers to it. It may be used by several goroutines.
type Kernel struct {
	// Path is the file that Open was given, also for a kernel that Unpack made from it.
	Path string
	// Format is the format of the file that will be loaded: ELF once unpacked.
	Format Format
	// Setup is the setup header, or nil if the kernel never had one (a plain vmlinux).
	Setup *SetupHeader
	// Image says what an ELF kernel wants loaded and where it is entered; nil for a bzImage.
	Image *Image
	// Version is the kernel's own name for itself ("6.1.0-56-cloud-amd64 (...) #1 SMP ..."), if it has a setup header.
	Version string

	file *os.File
	size int64
	// immutable is set for a file in the cache, which nobody writes to once it has its name: its pages may be mapped.
	immutable bool
}

// Close closes the kernel's file. A Plan made from the kernel cannot be loaded any more.
func (k *Kernel) Close() error { return k.file.Close() }

// headSize is how much of a file is read to recognise it: all of a setup header, and an ELF header with the program
// headers that usually follow it.
const headSize = 4096

// Open opens the kernel at path and reads its headers; it never reads all of it.
func Open(path string) (*Kernel, error) {
	// A named pipe without a writer would otherwise block here for ever; what it is shows below.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("boot: open kernel: %w", err)
	}
	k := &Kernel{Path: path, file: file}
	if err := k.readHeaders(); err != nil {
		file.Close()
		return nil, fmt.Errorf("boot: open kernel %s: %w", path, err)
	}
	return k, nil
}

func (k *Kernel) readHeaders() error {
	info, err := k.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", ErrFormat, info.Mode().Type())
	}
	k.size = info.Size()
	return k.parse(k.file)
}

// parse fills k from file, which has k.size bytes.
func (k *Kernel) parse(file io.ReaderAt) error {
	head := make([]byte, min(headSize, k.size))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var err error
	switch {
	case isELF(head):
		k.Format = ELF
		k.Image, err = parseELF(file, k.size)
	case isBzImage(head):
		k.Format = BzImage
		if k.Setup, err = parseSetup(head, k.size); err == nil {
			k.Version = k.Setup.readVersion(file)
		}
	default:
		err = fmt.Errorf("%w: %s", ErrFormat, sniff(head))
	}
	return err
}
