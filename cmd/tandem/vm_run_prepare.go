package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tandem/boot/store"
	"tandem/vmm"
	"tandem/vmm/trace"
)

// prepare settles a run. What it makes, it keeps in tandem's cache.
func (f *vmRunFlags) prepare(ctx context.Context, command []string, window windowSize, progress store.Progress) (*recipe, error) {
	r := &recipe{
		Name: f.name, Named: f.named, CPUs: f.cpus, Memory: uint64(f.memory), HugePages: hugePageSizes[f.hugePages.value],
		Entry: entries[f.protocol.value], Transport: vmm.Transport(f.transport.value), RNG: f.rng,
		Command: command, TTY: f.tty,
		Trace: f.trace, TraceFormat: trace.Format(f.traceFormat.value), Timeout: f.timeout, JSON: f.json,
	}
	for _, text := range f.disks {
		d, err := parseDisk(text)
		if err != nil {
			return nil, err
		}
		if err := checkDisk(d); err != nil {
			return nil, flagError("disk", text, err)
		}
		r.Disks = append(r.Disks, d)
	}
	if err := errors.Join(f.cards(r), f.others(r)); err != nil {
		return nil, err
	}
	var err error
	if r.Console, err = consoleTarget(f.console, len(command) > 0); err != nil {
		return nil, err
	}
	if err := errors.Join(f.wirePorts(r), f.wireBalloon(r)); err != nil {
		return nil, err
	}
	if f.traceFile != "" {
		if r.TraceFile, err = filepath.Abs(f.traceFile); err != nil {
			return nil, err
		}
	}
	own, err := f.ownInitrd(ctx, r, window)
	if err != nil {
		return nil, err
	}
	modules := f.modules // from here on it may take long, so all else that may be wrong has been looked at
	if r.Kernel, modules, err = findKernel(ctx, f.kernel, modules, progress); err != nil {
		return nil, err
	}
	cache, err := store.CacheDir()
	if err != nil {
		return nil, err
	}
	r.Unpacked = filepath.Join(cache, "unpacked")
	if own != nil {
		if err := own.make(ctx, r, modules); err != nil {
			return nil, err
		}
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
	if !f.verbose && f.initrd == "" && !filepath.IsAbs(r.Console) {
		words = append(words, "quiet") // each letter on a serial line is an exit: a second of a boot's time in all
	}
	if f.cmdline != "" {
		words = append(words, f.cmdline)
	}
	return strings.Join(words, " ")
}
