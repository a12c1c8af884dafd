package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/machine"
	"tandem/virtio/blk"
	"tandem/vmm"
)

// vmRegistry is the list of this user's VMs.
func vmRegistry() (machine.Registry, error) {
	home, err := box.Open()
	if err != nil {
		return machine.Registry{}, err
	}
	return machine.Registry{Folder: filepath.Join(home.Run, vmsFolder)}, nil
}

// vmsFolder is where the VMs that run are listed, below the folder of what runs.
const vmsFolder = "vms"

// apiMachine is the machine as its API sees it.
type apiMachine struct{ *vmm.VM }

func (m apiMachine) State() string { return m.VM.State().String() }

// register puts the VM on the list of those that run, under its name or, if the user gave none, its process's number. A
// VM that cannot be listed runs all the same, unless its name is another's.
func (g *guestRun) register() (unregister func(), err error) {
	record := machine.Record{
		Name: g.Name, Created: time.Now().UTC(), CPUs: g.CPUs, Memory: g.Memory, Kernel: g.Kernel, Command: g.Command,
	}
	if !g.Named {
		record.Name = fmt.Sprintf("vm-%d", os.Getpid())
	}
	var nics []machine.NIC
	for _, l := range g.cards {
		nics = append(nics, machine.NIC{
			Name: l.Name, Path: string(l.Card.Path), Source: l.Source(), MAC: l.Link().MAC, Pairs: l.Pairs(), Device: l.NIC(),
		})
		record.Addresses = append(record.Addresses, l.Link().Addresses...)
	}
	registry, err := vmRegistry()
	var entry *machine.Entry
	if err == nil {
		entry, err = registry.Register(record, machine.Handler(apiMachine{g.vm}, nics, g.openDisks(), g.balloon))
	}
	switch {
	case err == nil:
		return func() { _ = entry.Close() }, nil
	case errors.Is(err, machine.ErrTaken):
		return nil, flagError("name", g.Name, err)
	case g.Named:
		fmt.Fprintf(g.stderr, "tandem: warning: %s will not be listed by `tandem vm ls`: %v\n", g.Name, err)
	}
	return func() {}, nil
}

// openDisks are the machine's disks that are its own, in their order.
func (g *guestRun) openDisks() (list []machine.Disk) {
	for i, d := range g.opened {
		list = append(list, machine.Disk{Name: diskName(i), Source: g.Disks[i].Path, Device: d})
	}
	return list
}

func diskName(i int) string { return fmt.Sprintf("disk%d", i) }

// openDisk opens a disk of the recipe for the machine.
func (g *guestRun) openDisk(spec blk.Spec) (*blk.Disk, error) {
	d, err := blk.Open(spec)
	if err == nil {
		g.opened = append(g.opened, d)
	}
	return d, err
}
