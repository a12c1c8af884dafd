package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Path is where the kernel offers KVM.
const Path = "/dev/kvm"

// APIVersion is the only version of KVM's interface there is since Linux
// 2.6.22; what a kernel adds to it shows in capabilities.
const APIVersion = 12

// System is an open /dev/kvm. Its methods may be called at the same time.
type System struct {
	*descriptor
	runSize int // of a vCPU's mapping, KVM_GET_VCPU_MMAP_SIZE
}

// Open opens /dev/kvm. The caller closes the System; VMs made from it live
// on without it.
func Open() (*System, error) { return OpenTraced(nil) }

// OpenTraced is Open with a tracer, which sees every ioctl on the System and
// on the VMs and vCPUs made from it.
func OpenTraced(trace Tracer) (*System, error) {
	fd, err := unix.Open(Path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{Op: "open", Object: Path, Err: err}
	}
	s := &System{descriptor: newDescriptor(fd, "system", trace)}
	if err := s.setup(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *System) setup() error {
	version, err := s.APIVersion()
	if err != nil {
		return err
	}
	if version != APIVersion {
		return &Error{Op: opGetAPIVersion, Err: fmt.Errorf("got %d, want %d", version, APIVersion)}
	}
	s.runSize, err = ioctlValue(s.descriptor, reqGetVCPUMmapSize, 0)
	if err != nil {
		return &Error{Op: opGetVCPUMmapSize, Err: err}
	}
	if s.runSize < runUnionEnd {
		return &Error{Op: opGetVCPUMmapSize, Err: fmt.Errorf("%d bytes are too few for struct kvm_run", s.runSize)}
	}
	return nil
}

// Close closes /dev/kvm. Closing twice does nothing.
func (s *System) Close() error { return s.close() }

// APIVersion asks the kernel for its version of the interface, 12.
func (s *System) APIVersion() (int, error) {
	n, err := ioctlValue(s.descriptor, reqGetAPIVersion, 0)
	if err != nil {
		return 0, &Error{Op: opGetAPIVersion, Err: err}
	}
	return n, nil
}

// Check asks how far the host has a capability: 0 is not at all, and what
// another value means depends on the capability (1 mostly, else a limit or a
// set of flags). Some depend on the kind of VM: VM.Check knows better.
func (s *System) Check(c Capability) (int, error) {
	return s.check(c)
}

// Require is nil if all of the capabilities are there; otherwise it wraps
// ErrNotSupported and names the first that is missing.
func (s *System) Require(caps ...Capability) error {
	return s.require(caps)
}

// CreateVM makes a VM without memory, devices or vCPUs.
func (s *System) CreateVM() (*VM, error) {
	fd, err := ioctlValue(s.descriptor, reqCreateVM, 0) // machine type 0: a plain x86 VM
	if err != nil {
		return nil, &Error{Op: opCreateVM, Err: err}
	}
	// KVM sets close-on-exec on the descriptors that it makes.
	return &VM{
		descriptor: newDescriptor(fd, "vm", s.trace),
		runSize:    s.runSize,
		slots:      map[uint32]MemorySlot{},
	}, nil
}

func (d *descriptor) check(c Capability) (int, error) {
	n, err := ioctlValue(d, reqCheckExtension, uint64(c))
	if err != nil {
		return 0, &Error{Op: opCheckExtension, Object: c.String(), Err: err}
	}
	return n, nil
}

func (d *descriptor) require(caps []Capability) error {
	for _, c := range caps {
		n, err := d.check(c)
		if err != nil {
			return err
		}
		if n == 0 {
			return &Error{Op: opCheckExtension, Err: &NotSupportedError{c}}
		}
	}
	return nil
}
