package vmm

import (
	"io"
	"time"

	"tandem/virtio"
	"tandem/vmm/trace"
)

// Spec is the machine that is wanted. It holds no resources: the files that it
// names are opened, and everything is checked against the host, by [New].
type Spec struct {
	// Name stands for the machine in messages; "vm" if empty.
	Name string

	// CPUs is the number of vCPUs, 1 to layout.MaxCPUs.
	CPUs int
	// Memory is the guest's RAM in bytes: a multiple of 4 KiB (of HugePages,
	// if those are asked for), 1 MiB at least.
	Memory uint64
	// HugePages is the size of the pages that back RAM: 0 for the host's
	// ordinary ones, or 2 MiB or 1 GiB from the host's hugetlb pool.
	HugePages uint64
	// SharedMemory backs RAM with a memfd, so that another process can map
	// it (vhost-user).
	SharedMemory bool
	// Nested leaves the host's VMX or SVM visible in the guest.
	Nested bool

	// Exactly one of Kernel and Image says what runs first.
	Kernel *Kernel
	Image  *Image

	// Serial are COM1 and COM2. A port without In and Out exists too: it
	// reads nothing and its output is thrown away.
	Serial [2]Serial

	// Devices are the virtio devices, in the order that the guest finds them.
	Devices []Device

	// Report, if not nil, is told of errors that a device met while the guest
	// ran: why it needs a reset, a disk that cannot be read. It may be called
	// from several goroutines at once, as often as the guest provokes it.
	Report func(device string, err error)
	// Trace, if not nil, is told what happens.
	Trace *trace.Tracer
	// Started is when the boot timer began to run: the process' start, if
	// zero.
	Started time.Time
}

// Entry is the way into a Linux kernel.
type Entry string

// The ways into a kernel. EntryAuto takes the fastest that the file allows.
const (
	EntryAuto       Entry = ""
	EntryLong       Entry = "64"         // unpacked on the host, entered in 64-bit mode
	EntryDecompress Entry = "decompress" // the bzImage's own decompressor
	EntryPVH        Entry = "pvh"        // 32-bit protected mode, Xen's PVH protocol
)

// Kernel is a Linux kernel to boot.
type Kernel struct {
	// Path is a bzImage or an ELF vmlinux.
	Path string
	// Initrd are the parts of the initial RAM disk, put one after the other
	// on 4-byte boundaries as the kernel unpacks them.
	Initrd []Part
	// Cmdline is the whole command line. See [Cmdline] for what this machine
	// wants in it.
	Cmdline string
	Entry   Entry
	// Cache is a folder where unpacked kernels are kept for the next time; ""
	// unpacks into memory each time.
	Cache string
}

// Part is one piece of an initial RAM disk: a file, or bytes.
type Part struct {
	Path  string
	Bytes []byte
	// Immutable promises that nobody changes the file while the machine
	// lives, so that its pages can be mapped into the guest.
	Immutable bool
}

// Mode is the processor mode that an Image starts in.
type Mode string

// The modes of an Image.
const (
	ModeReal      Mode = "real"      // 16 bits, segments at 0
	ModeProtected Mode = "protected" // 32 bits, flat segments, paging off
)

// Image is a program of a few bytes that is put in memory and jumped to: for
// tests and lessons.
type Image struct {
	Code []byte
	GPA  uint64 // below 64 KiB in ModeReal
	Mode Mode
}

// Serial is a serial port's far end.
type Serial struct {
	// In is read as fast as the guest takes the bytes. Nil: nothing comes.
	In io.Reader
	// Out gets what the guest sends. Nil: it is thrown away.
	Out io.Writer
}

// Transport is how a virtio device is plugged in.
type Transport string

// The transports.
const (
	PCI  Transport = "pci"
	MMIO Transport = "mmio"
)

// Device is a virtio device of the machine.
type Device struct {
	// Name tells it from others in traces and errors: "disk0".
	Name string
	// Type is what Open will give.
	Type virtio.Type
	// Transport is PCI if empty.
	Transport Transport
	// Source is what stands behind the device, for people: a file's name.
	Source string
	// Open makes the device. If it is an io.Closer it is closed with the
	// machine. It is not called for a plan that is only printed.
	Open func() (virtio.Device, error)
	// Direct has the guest's kicks handled in the vCPU's thread (the data
	// path "exit").
	Direct bool
}
