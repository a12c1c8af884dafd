package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tandem/vhost"
	"tandem/virtio/memory"
)

// The kernel's devices.
const (
	NetPath   = "/dev/vhost-net"
	VsockPath = "/dev/vhost-vsock"
)

// Error says which request failed, and with what. It wraps the cause.
type Error struct {
	Device  string
	Request Request
	Detail  string // the argument
	Err     error
}

func (e *Error) Error() string {
	s := "kernel: " + e.Device + ": " + e.Request.String()
	if e.Detail != "" {
		s += " " + e.Detail
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Device is an open vhost device: the ioctls, one method each. Net and Vsock put them
// in order. Its methods may be called from any goroutine; the kernel takes its own
// lock.
type Device struct {
	path string
	file *os.File
}

// Open opens a device and makes this process its owner: a kernel thread of the
// device's works in this process's memory from then on. The error wraps
// errors.ErrUnsupported where the kernel has no such device.
func Open(path string) (*Device, error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
			err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
		return nil, fmt.Errorf("kernel: open %s: %w", path, err)
	}
	d := &Device{path: path, file: file}
	if err := d.SetOwner(); err != nil {
		file.Close()
		return nil, err
	}
	return d, nil
}

// Close stops the device and gives up all that it was given.
func (d *Device) Close() error { return d.file.Close() }

func (d *Device) fail(r Request, detail string, err error) error {
	return &Error{Device: d.path, Request: r, Detail: detail, Err: err}
}

// SetOwner is VHOST_SET_OWNER. Open has done it; it is for after ResetOwner.
func (d *Device) SetOwner() error { return ioctl[byte](d, setOwner, "", nil) }

// ResetOwner is VHOST_RESET_OWNER: the device is as before SetOwner.
func (d *Device) ResetOwner() error { return ioctl[byte](d, resetOwner, "", nil) }

// Features is VHOST_GET_FEATURES: what the kernel can serve of virtio's bits, and
// FeatureLogAll and FeatureNetVirtioHdr.
func (d *Device) Features() (v uint64, err error) {
	err = ioctl(d, getFeatures, "", &v)
	return v, err
}

// SetFeatures is VHOST_SET_FEATURES. The kernel refuses bits that it does not have.
func (d *Device) SetFeatures(v uint64) error {
	return ioctl(d, setFeatures, fmt.Sprintf("%#x", v), &v)
}

// BackendFeatures is VHOST_GET_BACKEND_FEATURES: bits of vhost's own interface.
func (d *Device) BackendFeatures() (v uint64, err error) {
	err = ioctl(d, getBackendFeatures, "", &v)
	return v, err
}

// SetBackendFeatures is VHOST_SET_BACKEND_FEATURES.
func (d *Device) SetBackendFeatures(v uint64) error {
	return ioctl(d, setBackendFeatures, fmt.Sprintf("%#x", v), &v)
}

// SetMemTable is VHOST_SET_MEM_TABLE: all of guest memory, in place of what it was.
// Rings that run go on in it.
func (d *Device) SetMemTable(regions []MemoryRegion) error {
	b := binary.NativeEndian.AppendUint32(nil, uint32(len(regions)))
	b = append(b, 0, 0, 0, 0)
	for _, r := range regions {
		for _, v := range []uint64{r.GPA, r.Size, r.User, 0} {
			b = binary.NativeEndian.AppendUint64(b, v)
		}
	}
	return ioctlBytes(d, setMemTable, fmt.Sprintf("%d regions", len(regions)), b)
}

// SetMemory is SetMemTable with the regions of mem, whole pages each.
func (d *Device) SetMemory(mem *memory.Space) error {
	var list []MemoryRegion
	for _, r := range mem.Regions() {
		if r.GPA%pageSize != 0 || len(r.Bytes)%pageSize != 0 {
			return d.fail(setMemTable, r.String(), errors.New("not whole pages"))
		}
		list = append(list, MemoryRegion{GPA: r.GPA, Size: uint64(len(r.Bytes)), User: vhost.Address(r.Bytes)})
	}
	return d.SetMemTable(list)
}

// SetLogBase is VHOST_SET_LOG_BASE: the address, in this process, of a bitmap with a
// bit for each page of guest memory. See Net.SetLog.
func (d *Device) SetLogBase(addr uint64) error {
	return ioctl(d, setLogBase, fmt.Sprintf("%#x", addr), &addr)
}

// SetLogFD is VHOST_SET_LOG_FD: an eventfd that is signalled for each bit that is
// set, or NoFile.
func (d *Device) SetLogFD(fd int) error {
	v := int32(fd)
	return ioctl(d, setLogFD, fmt.Sprint(fd), &v)
}
