package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tandem/boot/initramfs"
	"tandem/cmd/tandem/internal/elsewhere"
	"tandem/guest/config"
	"tandem/vmm"
)

// ownInitrd reads what tandem's own initial RAM disk is made of. It is nil if the user has another, which is in the
// recipe then, or wants none.
func (f *vmRunFlags) ownInitrd(ctx context.Context, r *recipe, window windowSize) (own *ownInitrd, err error) {
	switch f.initrd {
	case "":
		own = &ownInitrd{drivers: f.drivers(r)}
		if own.config, err = f.guestConfig(r, window); err != nil {
			return nil, err
		}
		if own.files, err = f.additions(); err != nil || len(r.Command) == 0 {
			return own, err
		}
		files, err := hostProgram(ctx, r.Command[0], own.files)
		own.files = append(own.files, files...)
		return own, err
	case initrdNone:
		return nil, nil
	}
	path, err := checkInitrd(f.initrd)
	if err != nil {
		return nil, flagError("initrd", f.initrd, err)
	}
	r.Initrd = []initrdFile{{Path: path}}
	return nil, nil
}

// checkInitrd returns the absolute path of a file that a kernel would unpack.
func checkInitrd(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if _, err := initramfs.Check(file, info.Size()); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// ownInitrd is tandem's own initial RAM disk: an archive that many runs share, and this run's on top of it.
type ownInitrd struct {
	config  config.Config // but for its modules
	files   []initramfs.File
	drivers []string // the modules that this run's devices need
}

// make makes both archives, for a kernel with these modules.
func (o *ownInitrd) make(ctx context.Context, r *recipe, modules string) error {
	base, err := initramfs.Base{ModulesDir: modules, Sets: guestSets()}.Build(ctx)
	if err != nil {
		return err
	}
	if len(r.Command) == 0 && !base.Busybox {
		return errors.New("the guest has no shell without a static busybox on this host: apt-get install busybox-static")
	}
	if modules != "" { // else the kernel has what it needs built in
		if o.config.Agent != nil {
			if driver := r.settleAgent(o.config.Agent, base.Missing); driver != "" && !slices.Contains(o.drivers, driver) {
				o.drivers = append(o.drivers, driver)
			}
		}
		for _, driver := range o.drivers {
			if slices.Contains(base.Missing, driver) {
				return fmt.Errorf("kernel %s has no module %s, which a device of this run needs", base.Kernel, driver)
			}
		}
		files, err := base.Load(o.drivers...)
		if err != nil {
			return err
		}
		o.config.Modules = config.ModulesAt(files...)
	}
	text, err := o.config.Encode()
	if err != nil {
		return err
	}
	if r.Overlay, err = initramfs.Overlay(text, o.files...); err != nil {
		return err
	}
	r.Initrd = []initrdFile{{Path: base.Path, Cached: true}}
	return nil
}

// additions reads what the user puts into the guest.
func (f *vmRunFlags) additions() ([]initramfs.File, error) {
	var files []initramfs.File
	for _, word := range f.add {
		a, err := parseAdd(word)
		if err != nil {
			return nil, err
		}
		tree, err := initramfs.AddTree(a.source, a.target)
		if err != nil {
			return nil, flagError("add", word, err)
		}
		files = append(files, tree...)
	}
	return files, nil
}

// guestSets is what goes into tandem's initial RAM disk. Nothing of it is required there: what this run loads is
// checked when that is known.
func guestSets() []initramfs.Set {
	sets := []initramfs.Set{initramfs.GuestBoot, initramfs.GuestDevices, initramfs.GuestFilesystems}
	for i, s := range sets {
		sets[i] = initramfs.Set{Name: s.Name, Optional: s.Names()}
	}
	return sets
}

// guestConfig is what the guest's init is told, but for its modules.
func (f *vmRunFlags) guestConfig(r *recipe, window windowSize) (config.Config, error) {
	c := config.Default()
	c.Hostname = f.name
	if err := c.Validate(); err != nil {
		return c, flagError("name", f.name, err)
	}
	for _, s := range r.Shares {
		c.Mounts = append(c.Mounts, s.Mount())
	}
	var err error
	if c.Env, err = parseEnv(f.env); err != nil {
		return c, err
	}
	if len(r.Command) > 0 {
		c.Console = nil
		c.Agent = &config.Agent{Port: agentPort}
		return c, nil
	}
	c.Console.Command = []string{"/bin/sh", "-l"}
	if r.VirtioConsole {
		c.Console.Device = virtioTerminal // which has the window's size from the device
		return c, nil
	}
	if r.Console == consoleStdio {
		c.Console.Rows, c.Console.Cols = window.rows, window.cols
	}
	return c, nil
}

// drivers are the modules that this run's devices need.
func (f *vmRunFlags) drivers(r *recipe) []string {
	names := []string{"virtio_pci"}
	if f.transport.value == string(vmm.MMIO) {
		names = []string{"virtio_mmio"}
	}
	if len(f.disks) > 0 {
		names = append(names, "virtio_blk")
	}
	if f.rng {
		names = append(names, "virtio_rng")
	}
	for _, d := range r.Elsewhere {
		names = append(names, map[string]string{elsewhere.Blk: "virtio_blk", elsewhere.FS: "virtiofs"}[d.Kind])
	}
	if len(r.Cards) > 0 {
		names = append(names, "virtio_net", "af_packet") // and what a DHCP client or a capture needs
	}
	if len(r.Shares) > 0 {
		names = append(names, "virtiofs")
	}
	if r.Vsock != nil {
		names = append(names, "vmw_vsock_virtio_transport")
	}
	if len(r.Ports) > 0 || r.VirtioConsole {
		names = append(names, consoleDriver)
	}
	if r.Balloon != nil {
		names = append(names, balloonDriver)
	}
	return names
}
