package net

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Tap is a backend of one or several queues of a tap: see Documentation/networking/tuntap.rst.
type Tap struct {
	name     string
	files    []*os.File
	raw      []rawFile
	features uint64
	attached int
}

// Offloads of a tap, TUNSETOFFLOAD.
const (
	tunCSum = 0x01 // TUN_F_CSUM
	tunTSO4 = 0x02 // TUN_F_TSO4
	tunTSO6 = 0x04 // TUN_F_TSO6
	tunECN  = 0x08 // TUN_F_TSO_ECN
	tunUFO  = 0x10 // TUN_F_UFO
	tunUSO4 = 0x20 // TUN_F_USO4, since Linux 6.2
	tunUSO6 = 0x40 // TUN_F_USO6
)

var tunOffloads = []struct {
	feature uint
	flag    int
}{
	{FeatureGuestCSum, tunCSum},
	{FeatureGuestTSO4, tunTSO4},
	{FeatureGuestTSO6, tunTSO6},
	{FeatureGuestECN, tunECN},
	{FeatureGuestUFO, tunUFO},
	{FeatureGuestUSO4, tunUSO4},
	{FeatureGuestUSO6, tunUSO6},
}

// NewTap makes a backend of open queues of one tap, which were opened non-blocking, with IFF_TAP, IFF_NO_PI and
// IFF_VNET_HDR. The files are the Tap's from then on, also if it fails.
func NewTap(files ...*os.File) (t *Tap, err error) {
	t = &Tap{files: files, attached: len(files)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("virtio/net: tap %s: %w", t.name, err), t.Close())
			t = nil
		}
	}()
	if len(files) == 0 {
		return t, errors.New("no queue")
	}
	for _, f := range files {
		raw, err := newRawFile(f)
		if err != nil {
			return t, err
		}
		t.raw = append(t.raw, raw)
		if err := t.check(raw, len(files) > 1); err != nil {
			return t, err
		}
		// A device of virtio 1 has a header of 12 bytes; a tap has one of 10 until it is told otherwise.
		err = raw.do(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, HeaderSize) })
		if err != nil {
			return t, fmt.Errorf("TUNSETVNETHDRSZ %d: %w", HeaderSize, err)
		}
	}
	return t, t.probe()
}

// check refuses what is no tap, or another one than the queues before.
func (t *Tap) check(raw rawFile, several bool) error {
	var flags uint16
	var name string
	err := raw.do(func(fd int) error {
		request, err := unix.NewIfreq("")
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, request); err != nil {
			return err
		}
		flags, name = request.Uint16(), request.Name()
		return nil
	})
	// Whether there is IFF_NO_PI nobody can tell: its bit means something else here (IFF_NOFILTER).
	want := uint16(unix.IFF_TAP | unix.IFF_VNET_HDR)
	switch {
	case err != nil:
		return fmt.Errorf("TUNGETIFF: %w", err)
	case t.name != "" && name != t.name:
		return fmt.Errorf("a queue of %s beside it", name)
	case flags&want != want:
		return fmt.Errorf("%s has flags %#x, want IFF_TAP and IFF_VNET_HDR (%#x)", name, flags, want)
	case several && flags&unix.IFF_MULTI_QUEUE == 0:
		return fmt.Errorf("%s has no IFF_MULTI_QUEUE, and several queues are wanted", name)
	}
	t.name = name
	return nil
}

// probe finds out which offloads this kernel's taps can do, by asking for them.
func (t *Tap) probe() error {
	// What comes from the driver a tap has always taken.
	t.features = 1<<FeatureCSum | 1<<FeatureHostTSO4 | 1<<FeatureHostTSO6 | 1<<FeatureHostECN | 1<<FeatureHostUFO
	const since2008 = tunCSum | tunTSO4 | tunTSO6 | tunECN | tunUFO
	flags := since2008 | tunUSO4 | tunUSO6
	err := t.setOffload(flags)
	if errors.Is(err, unix.EINVAL) {
		flags = since2008
		err = t.setOffload(flags)
	}
	if err != nil {
		return err
	}
	for _, o := range tunOffloads {
		if flags&o.flag != 0 {
			t.features |= 1 << o.feature
		}
	}
	if flags&tunUSO4 != 0 {
		t.features |= 1 << FeatureHostUSO
	}
	return t.setOffload(0)
}

func (t *Tap) setOffload(flags int) error {
	err := t.raw[0].do(func(fd int) error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, flags) })
	if err != nil {
		return fmt.Errorf("TUNSETOFFLOAD %#x: %w", flags, err)
	}
	return nil
}

// Name is the link's.
func (t *Tap) Name() string { return t.name }

// Pairs implements Backend.
func (t *Tap) Pairs() int { return len(t.files) }

// File implements Backend.
func (t *Tap) File(pair int) *os.File { return t.files[pair] }

// Features implements Backend.
func (t *Tap) Features() uint64 { return t.features }

// SetOffloads implements Backend.
func (t *Tap) SetOffloads(features uint64) error {
	flags := 0
	for _, o := range tunOffloads {
		if features&(1<<o.feature) != 0 {
			flags |= o.flag
		}
	}
	if err := t.setOffload(flags); err != nil {
		return fmt.Errorf("virtio/net: tap %s: %w", t.name, err)
	}
	return nil
}

// SetPairs implements Backend: the kernel spreads flows over the queues that are attached.
func (t *Tap) SetPairs(n int) error {
	for t.attached > n {
		if err := t.setQueue(t.attached-1, unix.IFF_DETACH_QUEUE); err != nil {
			return err
		}
		t.attached--
	}
	for t.attached < n {
		if err := t.setQueue(t.attached, unix.IFF_ATTACH_QUEUE); err != nil {
			return err
		}
		t.attached++
	}
	return nil
}

func (t *Tap) setQueue(i int, flags uint16) error {
	err := t.raw[i].do(func(fd int) error {
		request, err := unix.NewIfreq("")
		if err != nil {
			return err
		}
		request.SetUint16(flags)
		return unix.IoctlIfreq(fd, unix.TUNSETQUEUE, request)
	})
	if err != nil {
		return fmt.Errorf("virtio/net: tap %s: TUNSETQUEUE %#x of queue %d: %w", t.name, flags, i, err)
	}
	return nil
}

// Close implements Backend.
func (t *Tap) Close() error {
	var errs []error
	for _, f := range t.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
