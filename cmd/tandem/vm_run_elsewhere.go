package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tandem/cmd/tandem/internal/card"
	"tandem/cmd/tandem/internal/elsewhere"
	"tandem/virtio"
	"tandem/vmm"
)

// others reads what --vhost-user and --share ask for.
func (f *vmRunFlags) others(r *recipe) error {
	tags := make(map[string]bool)
	for _, text := range f.elsewhere {
		d, err := elsewhere.ParseDevice(text)
		if err != nil {
			return flagError("vhost-user", text, err)
		}
		if d.Kind == elsewhere.Net { // as --net datapath=vhost-user:SOCKET
			r.Cards = append(r.Cards, card.Card{Path: card.VhostUser, Socket: d.Socket, Queues: d.Queues})
			continue
		}
		if d.Kind == elsewhere.FS && tags[d.Tag] {
			return flagError("vhost-user", text, "the tag is another's already")
		}
		tags[d.Tag] = true
		r.Elsewhere = append(r.Elsewhere, d)
	}
	for _, text := range f.shares {
		s, err := elsewhere.ParseShare(text)
		if err != nil {
			return flagError("share", text, err)
		}
		if tags[s.Tag] {
			return flagError("share", text, "the tag is another's already")
		}
		tags[s.Tag] = true
		r.Shares = append(r.Shares, s)
	}
	if f.vsock != "" {
		s, err := parseVsock(f.vsock)
		if err != nil {
			return flagError("vsock", f.vsock, err)
		}
		r.Vsock = &s
	}
	if len(r.Shares) > 0 {
		if _, err := elsewhere.FindDaemon(); err != nil {
			return flagError("share", f.shares[0], err)
		}
	}
	return nil
}

// plugOthers plugs in the devices that others serve, and starts those servers that are tandem's to start. What it gives
// back ends them, once the machine has ended; it may be called twice.
func (g *guestRun) plugOthers(ctx context.Context, spec *vmm.Spec, agent *agentListener) (end func() error, err error) {
	var live []*elsewhere.Live
	end = func() error {
		var errs []error
		for _, l := range live {
			errs = append(errs, l.Close())
		}
		live = nil
		return errors.Join(errs...)
	}
	report := func(device string, err error) { fmt.Fprintf(g.stderr, "tandem: %s: %v\n", device, err) }
	for i, d := range g.Elsewhere {
		spec.SharedMemory = true
		spec.Devices = append(spec.Devices, d.Machine(ctx, fmt.Sprintf("vhost-user%d", i), g.Transport, report))
	}
	g.plugVsock(spec, agent, report)
	if len(g.Shares) == 0 {
		return end, nil
	}
	self, err := os.Executable()
	if err != nil {
		return end, err
	}
	for _, s := range g.Shares {
		l, err := elsewhere.Serve(self, s)
		if err != nil {
			return end, errors.Join(fmt.Errorf("share %s: %w", s.Source, err), end())
		}
		live = append(live, l)
		device := l.Device.Machine(ctx, "share "+s.Tag, g.Transport, report)
		open := device.Open
		device.Open = func() (virtio.Device, error) {
			d, err := open()
			return d, l.Why(err)
		}
		spec.SharedMemory = true
		spec.Devices = append(spec.Devices, device)
	}
	return end, nil
}
