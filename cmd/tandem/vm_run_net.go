package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tandem/boot/initramfs"
	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/card"
	"tandem/guest/config"
	"tandem/network/port"
	"tandem/vmm"
)

// networkFolder is where the leases of boxes and of VMs are, below the folder of what runs.
const networkFolder = "network"

// cards reads what --net and --publish ask for.
func (f *vmRunFlags) cards(r *recipe) error {
	bridged := false
	for _, text := range f.nets {
		c, wanted, err := card.Parse(text)
		if err != nil {
			return flagError("net", text, err)
		}
		if wanted {
			r.Cards = append(r.Cards, c)
		}
		bridged = bridged || c.Bridge != ""
	}
	for _, text := range f.publish {
		m, err := port.Parse(text)
		if err != nil {
			return flagError("publish", text, err)
		}
		if !bridged {
			return flagError("publish", text, "there is no card on a bridge: --net bridge")
		}
		r.Publish = append(r.Publish, m)
	}
	return nil
}

// plugCards plugs the recipe's network cards into the machine, and tells the guest's init of their addresses. What it
// gives back unplugs them, once the machine has ended; it may be called twice.
func (g *guestRun) plugCards(ctx context.Context, spec *vmm.Spec) (unplug func() error, err error) {
	unplug = func() error {
		var errs []error
		for len(g.cards) > 0 {
			last := len(g.cards) - 1
			errs = append(errs, g.cards[last].Close(context.WithoutCancel(ctx)))
			g.cards = g.cards[:last]
		}
		return errors.Join(errs...)
	}
	if len(g.Cards) == 0 {
		return unplug, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unplug())
		}
	}()
	home, err := box.Open()
	if err != nil {
		return unplug, err
	}
	self, err := os.Executable()
	if err != nil {
		return unplug, err
	}
	report := func(device string, err error) { fmt.Fprintf(g.stderr, "tandem: %s: %v\n", device, err) }
	if spec.Report == nil {
		spec.Report = report
	}
	opt := card.Options{
		Machine: g.Name, State: filepath.Join(home.Run, networkFolder), Ports: g.Publish, Self: self, Report: report,
		Trace: spec.Trace,
		Note:  func(text string) { fmt.Fprintln(g.stderr, "tandem: warning:", text) },
	}
	for i, c := range g.Cards {
		live, err := card.Plug(ctx, i, c, opt)
		if err != nil {
			return unplug, err
		}
		g.cards = append(g.cards, live)
		spec.Devices = append(spec.Devices, live.Device(g.Transport))
		spec.SharedMemory = spec.SharedMemory || c.Path == card.VhostUser
		if c.Bridge != "" {
			opt.Ports = nil // they were the first's
		}
	}
	return unplug, g.tellGuest(spec, opt.Note)
}

// tellGuest puts the cards' addresses behind the initial RAM disk, whoever made that: tandem's init looks for them.
func (g *guestRun) tellGuest(spec *vmm.Spec, note func(string)) error {
	if spec.Kernel == nil || len(spec.Kernel.Initrd) == 0 {
		return nil
	}
	var n config.Network
	for _, l := range g.cards {
		n.Links = append(n.Links, l.Link())
	}
	text, err := n.Encode()
	if err != nil {
		return err
	}
	files := []initramfs.File{{Name: config.NetworkPath, Mode: 0o644, Data: text}}
	names, err := card.ResolvConf(g.Name, g.cards, note)
	if err != nil {
		return err
	}
	if names != nil {
		files = append(files, initramfs.File{Name: "/etc/resolv.conf", Mode: 0o644, Data: names})
	}
	archive, err := initramfs.Overlay(nil, files...)
	if err != nil {
		return err
	}
	spec.Kernel.Initrd = append(spec.Kernel.Initrd, vmm.Part{Bytes: archive})
	return nil
}
