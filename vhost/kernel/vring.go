package kernel

import (
	"fmt"
	"time"
)

func (d *Device) state(r Request, ring int, num uint32) (uint32, error) {
	v := vringState{uint32(ring), num}
	err := ioctl(d, r, fmt.Sprintf("ring %d: %d", ring, num), &v)
	return v.Num, err
}

func (d *Device) setFile(r Request, ring, fd int) error {
	v := vringFile{uint32(ring), int32(fd)}
	return ioctl(d, r, fmt.Sprintf("ring %d: descriptor %d", ring, fd), &v)
}

// SetVringNum is VHOST_SET_VRING_NUM: the ring's size, while it does not run.
func (d *Device) SetVringNum(ring int, size uint16) error {
	_, err := d.state(setVringNum, ring, uint32(size))
	return err
}

// SetVringAddr is VHOST_SET_VRING_ADDR: where the ring is.
func (d *Device) SetVringAddr(a VringAddr) error {
	return ioctl(d, setVringAddr, fmt.Sprintf("ring %d: %#x %#x %#x", a.Index, a.Desc, a.Avail, a.Used), &a)
}

// SetVringBase is VHOST_SET_VRING_BASE: the available index to begin at. Where the
// used ring stands, the kernel reads in it.
func (d *Device) SetVringBase(ring int, index uint16) error {
	_, err := d.state(setVringBase, ring, uint32(index))
	return err
}

// VringBase is VHOST_GET_VRING_BASE: the available index that would be next.
func (d *Device) VringBase(ring int) (uint16, error) {
	v, err := d.state(getVringBase, ring, 0)
	return uint16(v), err
}

// SetVringKick is VHOST_SET_VRING_KICK: the eventfd that the driver signals, or
// NoFile.
func (d *Device) SetVringKick(ring, fd int) error { return d.setFile(setVringKick, ring, fd) }

// SetVringCall is VHOST_SET_VRING_CALL: the eventfd that calls the driver, or NoFile.
func (d *Device) SetVringCall(ring, fd int) error { return d.setFile(setVringCall, ring, fd) }

// SetVringErr is VHOST_SET_VRING_ERR: the eventfd that says that the ring is broken,
// or NoFile.
func (d *Device) SetVringErr(ring, fd int) error { return d.setFile(setVringErr, ring, fd) }

// SetBusyLoop is VHOST_SET_VRING_BUSYLOOP_TIMEOUT: for how long the worker looks at
// an empty ring before it sleeps, in whole microseconds.
func (d *Device) SetBusyLoop(ring int, t time.Duration) error {
	_, err := d.state(setVringBusyloop, ring, uint32(t.Microseconds()))
	return err
}

// BusyLoop is VHOST_GET_VRING_BUSYLOOP_TIMEOUT.
func (d *Device) BusyLoop(ring int) (time.Duration, error) {
	v, err := d.state(getVringBusyloop, ring, 0)
	return time.Duration(v) * time.Microsecond, err
}

// SetVringEndian is VHOST_SET_VRING_ENDIAN, for legacy drivers alone: kernels may be
// built without it.
func (d *Device) SetVringEndian(ring int, big bool) error {
	v := uint32(0)
	if big {
		v = 1
	}
	_, err := d.state(setVringEndian, ring, v)
	return err
}

// VringBigEndian is VHOST_GET_VRING_ENDIAN.
func (d *Device) VringBigEndian(ring int) (bool, error) {
	v, err := d.state(getVringEndian, ring, 0)
	return v == 1, err
}

// NewWorker is VHOST_NEW_WORKER: one more kernel thread (Linux 6.5). All rings share
// one until they are given others.
func (d *Device) NewWorker() (id uint32, err error) {
	var v workerState
	err = ioctl(d, newWorker, "", &v)
	return v.ID, err
}

// FreeWorker is VHOST_FREE_WORKER: no ring may have it.
func (d *Device) FreeWorker(id uint32) error {
	return ioctl(d, freeWorker, fmt.Sprintf("worker %d", id), &workerState{id})
}

// AttachWorker is VHOST_ATTACH_VRING_WORKER.
func (d *Device) AttachWorker(ring int, id uint32) error {
	return ioctl(d, attachVringWorker, fmt.Sprintf("ring %d: worker %d", ring, id), &vringWorker{uint32(ring), id})
}

// Worker is VHOST_GET_VRING_WORKER.
func (d *Device) Worker(ring int) (id uint32, err error) {
	v := vringWorker{Index: uint32(ring)}
	err = ioctl(d, getVringWorker, fmt.Sprintf("ring %d", ring), &v)
	return v.ID, err
}

// SetNetBackend is VHOST_NET_SET_BACKEND: the tap (or packet socket) of a ring of
// vhost-net, which starts it; NoFile stops it.
func (d *Device) SetNetBackend(ring, fd int) error { return d.setFile(netSetBackend, ring, fd) }

// SetGuestCID is VHOST_VSOCK_SET_GUEST_CID. The error wraps unix.EADDRINUSE if
// another guest has the address.
func (d *Device) SetGuestCID(cid uint64) error {
	return ioctl(d, vsockSetGuestCID, fmt.Sprint(cid), &cid)
}

// SetRunning is VHOST_VSOCK_SET_RUNNING: starts or stops all rings of vhost-vsock.
func (d *Device) SetRunning(on bool) error {
	v := int32(0)
	if on {
		v = 1
	}
	return ioctl(d, vsockSetRunning, fmt.Sprint(v), &v)
}
