package main

import (
	"fmt"

	"tandem/virtio"
	"tandem/virtio/balloon"
	"tandem/vmm"
)

// balloonDriver is the balloon's module in the guest.
const balloonDriver = "virtio_balloon"

const balloonDevice = "balloon"

// balloonSpec is what --balloon asks for.
type balloonSpec struct {
	Target uint64 `json:"target"`
}

// wireBalloon reads what --balloon asks for.
func (f *vmRunFlags) wireBalloon(r *recipe) error {
	if f.balloon == "" {
		return nil
	}
	var size sizeValue
	if err := size.Set(f.balloon); err != nil {
		return flagError("balloon", f.balloon, err)
	}
	switch {
	case r.HugePages != 0:
		return flagError("balloon", f.balloon, "memory in huge pages cannot be given back page by page: leave out --hugepages")
	case uint64(size) >= r.Memory:
		return flagError("balloon", f.balloon, fmt.Sprintf("the guest's memory is %v", &f.memory))
	case size%balloon.PageSize != 0:
		return flagError("balloon", f.balloon, fmt.Sprintf("want a multiple of %d bytes", balloon.PageSize))
	}
	r.Balloon = &balloonSpec{uint64(size)}
	return nil
}

// balloonDevices is the balloon, if there is one. made is told of it.
func (r *recipe) balloonDevices(report func(error), made func(*balloon.Device)) []vmm.Device {
	if r.Balloon == nil {
		return nil
	}
	return []vmm.Device{{
		Name: balloonDevice, Type: virtio.TypeBalloon, Transport: r.Transport, Source: fmt.Sprintf("%d bytes", r.Balloon.Target),
		Open: func() (virtio.Device, error) {
			d, err := balloon.New(balloon.Spec{Target: r.Balloon.Target, Report: report})
			if err != nil {
				return nil, err
			}
			made(d)
			return d, nil
		},
	}}
}

// plugBalloon keeps hold of the balloon, when the machine is made.
func (g *guestRun) plugBalloon(spec *vmm.Spec) {
	report := func(err error) { fmt.Fprintf(g.stderr, "tandem: %v\n", err) }
	for _, d := range g.balloonDevices(report, func(d *balloon.Device) { g.balloon = d }) {
		replaceOpen(spec, d.Name, d.Open)
	}
}
