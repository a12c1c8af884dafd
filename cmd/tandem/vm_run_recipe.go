package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tandem/boot/initramfs"
	"tandem/boot/store"
	"tandem/guest/config"
	"tandem/virtio"
	"tandem/virtio/blk"
	"tandem/virtio/rng"
	"tandem/vmm"
	"tandem/vmm/trace"
)

// recipe is a run with everything settled that its flags leave open: files are found, the initial RAM disk is made. It
// is what a host hands to its lab, which sees the same files, so that the lab's slow processors only run the guest.
type recipe struct {
	Name      string `json:"name"`
	CPUs      int    `json:"cpus"`
	Memory    uint64 `json:"memory"`
	HugePages uint64 `json:"huge_pages,omitempty"`

	Kernel   string       `json:"kernel"`
	Entry    vmm.Entry    `json:"entry,omitempty"`
	Cmdline  string       `json:"cmdline"`
	Unpacked string       `json:"unpacked"` // the folder where unpacked kernels are kept
	Initrd   []initrdFile `json:"initrd,omitempty"`
	Overlay  []byte       `json:"overlay,omitempty"` // what lies behind them

	Transport vmm.Transport `json:"transport"`
	Disks     []disk        `json:"disks,omitempty"`
	RNG       bool          `json:"rng,omitempty"`
	Console   string        `json:"console"` // stdio, none, or a file

	Command []string `json:"command,omitempty"`
	TTY     bool     `json:"tty,omitempty"`

	Trace       string        `json:"trace,omitempty"`
	TraceFormat trace.Format  `json:"trace_format,omitempty"`
	TraceFile   string        `json:"trace_file,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	JSON        bool          `json:"json,omitempty"`
}

// initrdFile is one part of the initial RAM disk.
type initrdFile struct {
	Path   string `json:"path"`
	Cached bool   `json:"cached,omitempty"` // it is tandem's own, and nobody changes it
}

// agentPort is the guest's name of the second serial port, which carries the agent's session.
const agentPort = "/dev/ttyS1"

// windowSize is a terminal's in characters; 0 where there is none.
type windowSize struct{ rows, cols uint16 }

// prepare settles a run. What it makes, it keeps in tandem's cache.
func (f *vmRunFlags) prepare(ctx context.Context, command []string, window windowSize, progress store.Progress) (*recipe, error) {
	r := &recipe{
		Name: f.name, CPUs: f.cpus, Memory: uint64(f.memory), HugePages: hugePageSizes[f.hugePages.value],
		Entry: entries[f.protocol.value], Transport: vmm.Transport(f.transport.value), RNG: f.rng,
		Command: command, TTY: f.tty,
		Trace: f.trace, TraceFormat: trace.Format(f.traceFormat.value), Timeout: f.timeout, JSON: f.json,
	}
	for _, text := range f.disks {
		d, err := parseDisk(text)
		if err != nil {
			return nil, err
		}
		r.Disks = append(r.Disks, d)
	}
	var err error
	if r.Console, err = consoleTarget(f.console, len(command) > 0); err != nil {
		return nil, err
	}
	if f.traceFile != "" {
		if r.TraceFile, err = filepath.Abs(f.traceFile); err != nil {
			return nil, err
		}
	}
	modules := f.modules
	if r.Kernel, modules, err = findKernel(ctx, f.kernel, modules, progress); err != nil {
		return nil, err
	}
	cache, err := store.CacheDir()
	if err != nil {
		return nil, err
	}
	r.Unpacked = filepath.Join(cache, "unpacked")
	if err := f.prepareInitrd(ctx, r, modules, window); err != nil {
		return nil, err
	}
	r.Cmdline = f.commandLine(r)
	return r, nil
}

// consoleTarget settles where the first serial port goes.
func consoleTarget(word string, haveCommand bool) (string, error) {
	switch {
	case word == consoleAuto && haveCommand:
		return consoleNone, nil
	case word == consoleAuto:
		return consoleStdio, nil
	case word == consoleStdio, word == consoleNone:
		return word, nil
	case word == "":
		return "", flagError("console", word, "want stdio, none, or a file")
	}
	return filepath.Abs(word)
}

// findKernel gives the kernel's file, and the folder of its modules if it has any. The store's default kernel is
// fetched if the store is empty.
func findKernel(ctx context.Context, word, modules string, progress store.Progress) (file, modulesDir string, err error) {
	if word != "" {
		if info, err := os.Stat(word); err == nil && info.Mode().IsRegular() {
			file, err = filepath.Abs(word)
			return file, modules, err
		} else if err != nil && (!errors.Is(err, fs.ErrNotExist) || strings.ContainsRune(word, '/')) {
			return "", "", flagError("kernel", word, err)
		}
	}
	if modules != "" {
		return "", "", flagError("modules", modules, "the kernels of the store have their own, --kernel does not name a file")
	}
	s, err := store.Open("")
	if err != nil {
		return "", "", err
	}
	k, err := s.Get(word)
	if errors.Is(err, store.ErrNotFound) && word == "" {
		k, err = s.Pull(ctx, "", progress)
	} else if errors.Is(err, store.ErrNotFound) {
		err = flagError("kernel", word, "neither a file nor a name of `tandem kernel ls`")
	}
	return k.Image, k.Modules, err
}

// commandLine is the machine's own words, then what this run wants, then the user's, which win.
func (f *vmRunFlags) commandLine(r *recipe) string {
	words := []string{vmm.Cmdline()}
	if !f.verbose && f.initrd == "" && r.Console != consoleNone && !filepath.IsAbs(r.Console) {
		words = append(words, "quiet") // the console is a person's, who asked for a shell
	}
	if f.cmdline != "" {
		words = append(words, f.cmdline)
	}
	return strings.Join(words, " ")
}

// prepareInitrd puts the user's initial RAM disk into the recipe, or tandem's own.
func (f *vmRunFlags) prepareInitrd(ctx context.Context, r *recipe, modules string, window windowSize) error {
	switch f.initrd {
	case "":
		return f.prepareInitramfs(ctx, r, modules, window)
	case initrdNone:
		return nil
	}
	file, err := os.Open(f.initrd)
	if err != nil {
		return flagError("initrd", f.initrd, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil {
		_, err = initramfs.Check(file, info.Size())
	}
	if err != nil {
		return flagError("initrd", f.initrd, err)
	}
	path, err := filepath.Abs(f.initrd)
	r.Initrd = []initrdFile{{Path: path}}
	return err
}

func (f *vmRunFlags) prepareInitramfs(ctx context.Context, r *recipe, modules string, window windowSize) error {
	base, err := initramfs.Base{ModulesDir: modules, Sets: guestSets()}.Build(ctx)
	if err != nil {
		return err
	}
	if len(r.Command) == 0 && !base.Busybox {
		return errors.New("the guest has no shell without a static busybox on this host: apt-get install busybox-static")
	}
	c, err := f.guestConfig(r, base, window)
	if err != nil {
		return err
	}
	text, err := c.Encode()
	if err != nil {
		return err
	}
	var files []initramfs.File
	for _, word := range f.add {
		a, err := parseAdd(word)
		if err != nil {
			return err
		}
		tree, err := initramfs.AddTree(a.source, a.target)
		if err != nil {
			return flagError("add", word, err)
		}
		files = append(files, tree...)
	}
	if r.Overlay, err = initramfs.Overlay(text, files...); err != nil {
		return err
	}
	r.Initrd = []initrdFile{{Path: base.Path, Cached: true}}
	return nil
}

// guestSets is what goes into tandem's initial RAM disk. Nothing of it is required there: what this run loads is
// checked when that is known.
func guestSets() []initramfs.Set {
	sets := []initramfs.Set{initramfs.GuestBoot, initramfs.GuestDevices, initramfs.GuestFilesystems, initramfs.GuestNet}
	for i, s := range sets {
		sets[i] = initramfs.Set{Name: s.Name, Optional: s.Names()}
	}
	return sets
}

// guestConfig is what the guest's init is told.
func (f *vmRunFlags) guestConfig(r *recipe, base *initramfs.Archive, window windowSize) (*config.Config, error) {
	c := config.Default()
	c.Hostname = f.name
	var err error
	if c.Env, err = parseEnv(f.env); err != nil {
		return nil, err
	}
	if base.Kernel != "" {
		files, err := base.Load(f.drivers()...)
		if err != nil {
			return nil, err
		}
		c.Modules = config.ModulesAt(files...)
	}
	if len(r.Command) > 0 {
		c.Console = nil
		c.Agent = &config.Agent{Port: agentPort}
		return &c, nil
	}
	c.Console.Command = []string{"/bin/sh", "-l"}
	if r.Console == consoleStdio {
		c.Console.Rows, c.Console.Cols = window.rows, window.cols
	}
	return &c, nil
}

// drivers are the modules that this run's devices need.
func (f *vmRunFlags) drivers() []string {
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
	return names
}

// spec is the machine that the recipe describes. Its serial ports are the caller's to fill.
func (r *recipe) spec(tracer *trace.Tracer) vmm.Spec {
	s := vmm.Spec{
		Name: r.Name, CPUs: r.CPUs, Memory: r.Memory, HugePages: r.HugePages, Trace: tracer,
		Kernel: &vmm.Kernel{Path: r.Kernel, Cmdline: r.Cmdline, Entry: r.Entry, Cache: r.Unpacked},
	}
	for _, file := range r.Initrd {
		s.Kernel.Initrd = append(s.Kernel.Initrd, vmm.Part{Path: file.Path, Immutable: file.Cached})
	}
	if r.Overlay != nil {
		s.Kernel.Initrd = append(s.Kernel.Initrd, vmm.Part{Bytes: r.Overlay})
	}
	for i, d := range r.Disks {
		s.Devices = append(s.Devices, vmm.Device{
			Name: fmt.Sprintf("disk%d", i), Type: virtio.TypeBlk, Transport: r.Transport, Source: d.Path,
			Open: func() (virtio.Device, error) {
				return blk.Open(blk.Spec{Path: d.Path, ReadOnly: d.ReadOnly, Serial: d.Serial, Queues: d.Queues})
			},
		})
	}
	if r.RNG {
		s.Devices = append(s.Devices, vmm.Device{
			Name: "rng", Type: virtio.TypeRNG, Transport: r.Transport,
			Open: func() (virtio.Device, error) { return rng.New(), nil },
		})
	}
	return s
}
