package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/boot"
	"tandem/boot/store"
)

// findKernel gets the lab's kernel from the store, and has it pulled if it has to be.
func findKernel(ctx context.Context, name string, step func(string, ...any)) (store.Kernel, error) {
	s, err := store.Open("")
	if err != nil {
		return store.Kernel{}, err
	}
	if name != "" {
		return s.Get(name)
	}
	k, err := s.Get(store.LabPackage)
	if !errors.Is(err, store.ErrNotFound) {
		return k, err
	}
	step("pull %s", store.LabPackage)
	return s.Pull(ctx, store.LabPackage, func(what string, done, total int64) {
		switch {
		case total > 0:
			step("%s %d%%", what, done*100/total)
		default:
			step("%s", what)
		}
	})
}

// bootable gives the file for QEMU to boot. A bzImage's decompressor takes seconds where instructions are emulated, so
// the kernel inside is unpacked here, once, and entered by way of PVH.
func bootable(k store.Kernel, step func(string, ...any)) (string, error) {
	cache, err := store.CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "lab")
	digest := strings.TrimPrefix(k.Digest, "sha256:")
	path := filepath.Join(dir, "vmlinux-"+digest)
	if hasPVH(path) {
		return path, nil
	}
	image, err := boot.Open(k.Image)
	if err != nil {
		return "", err
	}
	defer image.Close()
	if image.Format != boot.BzImage {
		return k.Image, nil
	}
	step("unpack Linux %s", k.Release)
	err = replaceFile(path, func(f *os.File) error { return image.Decompress(f) })
	switch {
	case errors.Is(err, boot.ErrCompression), err == nil && !hasPVH(path):
		return k.Image, nil
	case err != nil:
		return "", fmt.Errorf("unpack %s: %w", k.Image, err)
	}
	removeOthers(dir, path)
	return path, nil
}

// hasPVH tells whether path is an ELF kernel that QEMU can enter.
func hasPVH(path string) bool {
	k, err := boot.Open(path)
	if err != nil {
		return false
	}
	defer k.Close()
	return k.Image != nil && k.Image.PVHEntry != 0
}

// replaceFile makes a file that appears at path complete, or not at all.
func replaceFile(path string, write func(*os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// removeOthers removes the unpacked kernels that an update of the kernel has left. A QEMU that runs one has read it.
func removeOthers(dir, keep string) {
	others, _ := filepath.Glob(filepath.Join(dir, "vmlinux-*"))
	for _, path := range others {
		if path != keep {
			_ = os.Remove(path)
		}
	}
}
