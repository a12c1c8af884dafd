package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"tandem/boot/initramfs"
	"tandem/kvm/probe"
)

// benchBlk measures the disk, with Linux behind it: with fio, or with a load of our own where there is none.
func benchBlk(ctx context.Context, o options, dir string) ([]table, error) {
	if !probe.Quick().Linux {
		return inLab(ctx, o, "blk")
	}
	files, gauges, load, err := diskLoad(ctx)
	if err != nil {
		return nil, err
	}
	f, err := newFleet(ctx, o, dir, files...)
	if err != nil {
		return nil, err
	}
	defer f.close()
	const size = 64 << 20
	image := func(name string) (string, error) {
		path := filepath.Join(dir, name)
		return path, os.WriteFile(path, make([]byte, size), 0o600) // written, not sparse
	}
	own, err := image("own.img")
	if err != nil {
		return nil, err
	}
	theirs, err := image("theirs.img")
	if err != nil {
		return nil, err
	}
	tandem, qemu := tandemVessel(o, "eventfd"), qemuVessel("QEMU", "tandem", "off")
	tandem.name = "tandem"
	ownCard, theirCard := tandem.args, qemu.args
	tandem.args = func(v *vessel) []string { return append(ownCard(v), "--disk", own) }
	qemu.args = func(v *vessel) []string {
		return append(theirCard(v), "-drive", "if=none,id=d,format=raw,cache=writeback,aio=threads,file="+theirs,
			"-device", "virtio-blk-pci,drive=d")
	}
	if err := f.add(ctx, tandem); err != nil {
		return nil, err
	}
	notes := f.tryAdd(ctx, qemu)
	tables := f.measure(o.boots, gauges)
	tables[0].Notes = append(notes, load,
		"both disks are raw files that the host's page cache holds, and have one queue: what is measured is the way "+
			"to the disk, not the wait for one; tandem serves a request of the queue at a time, QEMU has a pool of threads "+
			"(cache=writeback, aio=threads, no iothread: its defaults)")
	return tables, nil
}

// diskLoad is what the disk is measured with: the files that the guests need for it, what it reads, and its name.
func diskLoad(ctx context.Context) (files []initramfs.File, gauges []gauge, load string, err error) {
	const aim = "no slower than QEMU: 1 and more"
	path, err := exec.LookPath("fio")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, []gauge{
			{"4 KiB read at random, one after the other", aim, "/s", disk(loadRandomRead, randomBlock)},
			{"4 KiB written at random, one after the other", aim, "/s", disk(loadWrite, randomBlock)},
			{"256 KiB read in order", aim, "MB/s", disk(loadSequential, 1e6)},
		}, "the load is this program's own: there is no fio here (Debian's fio)", nil
	}
	if err != nil {
		return nil, nil, "", err
	}
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s --version: %w", path, err)
	}
	p, files, err := carry(ctx, path, fioHome)
	if err != nil {
		return nil, nil, "", err
	}
	for _, j := range []struct {
		title string
		job   fioJob
	}{
		{"4 KiB read at random, one at a time", fioJob{"randread", "4k", 1}},
		{"4 KiB read at random, 32 at a time", fioJob{"randread", "4k", 32}},
		{"4 KiB written at random, one at a time", fioJob{"randwrite", "4k", 1}},
		{"4 KiB written at random, 32 at a time", fioJob{"randwrite", "4k", 32}},
	} {
		gauges = append(gauges, gauge{j.title, aim, "/s", j.job.read(p, benchDisk, requests)})
	}
	gauges = append(gauges, gauge{
		"256 KiB read in order, 8 at a time", aim, "MB/s",
		fioJob{"read", "256k", 8}.read(p, benchDisk, megabytes),
	})
	return files, gauges, fmt.Sprintf("the load is %s with libaio and direct=1, and its %d libraries: %d MiB in each guest",
		bytes.TrimSpace(version), len(files)-2, fileSize(files)>>20), nil
}
