package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tandem/boot/cpio"
	"tandem/boot/store"
	"tandem/kvm/probe"
	"tandem/lab"
)

// initMark is what the guest's init prints. It stands in no command line, which the kernel prints.
const initMark = "init-of-the-bench"

// initScript is the guest's init.
const initScript = "#!/bin/busybox sh\necho " + initMark + "\nexec /bin/busybox poweroff -f\n"

// benchInit boots Linux where KVM can: here, or by running this program in the lab.
func benchInit(ctx context.Context, o options, dir string) ([]table, error) {
	if verdict := probe.Quick(); !verdict.Linux {
		if os.Getenv(lab.Variable) != "" {
			return nil, fmt.Errorf("no KVM that can run Linux, here in the lab: %s", verdict.Because)
		}
		return benchInitInLab(ctx, o, dir)
	}
	kernels, err := store.Open("")
	if err != nil {
		return nil, err
	}
	kernel, err := kernels.Get("")
	if err != nil {
		return nil, err
	}
	initrd, err := writeInitrd(dir)
	if err != nil {
		return nil, err
	}
	monitors, missing := findMonitors(o, dir)
	results := compare(ctx, monitors, guest{
		kernel: kernel.Image, initrd: initrd, cmdline: "console=ttyS0 quiet panic=-1", memory: o.memory,
	}, initMark, o.boots, 2*time.Minute)
	if results[0].err != nil {
		return nil, results[0].err
	}
	return []table{{
		Title: fmt.Sprintf("from the monitor's start to init, Linux %s, %d MiB", kernel.Release, o.memory),
		Aim:   "no slower than the best peer",
		Rows:  summarize(results, "ms", milliseconds),
		Notes: missing,
	}}, nil
}

// benchInitInLab is benchInit where KVM cannot run Linux.
func benchInitInLab(ctx context.Context, o options, dir string) ([]table, error) {
	// The lab has no network to fetch and build it with. If it is not to be had here, the lab says so.
	var more []string
	if gokvm, err := findGokvm(o, dir); err == nil {
		more = []string{"-gokvm", gokvm}
	}
	return inLab(ctx, o, "init", more...)
}

// writeInitrd makes an initramfs that prints initMark as soon as user space runs.
func writeInitrd(dir string) (path string, err error) {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return "", fmt.Errorf("%w (Debian's busybox-static)", err)
	}
	path = filepath.Join(dir, "initrd.cpio")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	archive := cpio.NewWriter(file)
	return path, writeAll(archive, busybox)
}

func writeAll(archive *cpio.Writer, busybox []byte) error {
	steps := []func() error{
		func() error { return archive.Dir("dev", 0o755) },
		func() error { return archive.Bytes("init", 0o755, []byte(initScript)) },
		func() error { return archive.Bytes("bin/busybox", 0o755, busybox) },
		archive.Close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
