package boot

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Unpack returns the ELF kernel inside k as a kernel of its own, whose file is kept in cacheDir so that the next start
// maps it instead of unpacking again. An ELF kernel is copied there too, in a layout that can be mapped and that nobody
// can change under a running guest. With cacheDir "" the file is an anonymous one that goes with the process.
//
// k stays open and belongs to the caller, as does the kernel returned. Processes may unpack into the same folder at the
// same time. A payload that no decoder is known for is ErrCompression; the kernel can still be planned as it is, since
// it brings its own.
func Unpack(k *Kernel, cacheDir string) (*Kernel, error) {
	file, err := unpackedFile(k, cacheDir)
	if err != nil {
		return nil, fmt.Errorf("boot: unpack kernel %s: %w", k.Path, err)
	}
	unpacked := &Kernel{Path: k.Path, Setup: k.Setup, Version: k.Version, file: file, immutable: true}
	if err := unpacked.readHeaders(); err != nil {
		file.Close()
		return nil, fmt.Errorf("boot: unpack kernel %s: %w", k.Path, err)
	}
	return unpacked, nil
}

// unpackedFile finds the unpacked kernel or makes it.
func unpackedFile(k *Kernel, dir string) (*os.File, error) {
	if k.immutable {
		return duplicate(k.file)
	}
	if dir == "" {
		return unpackAnonymous(k)
	}
	c, err := openCache(dir, k.Path)
	if err != nil {
		return nil, err
	}
	file, err := c.lookup(k)
	if err != nil || file != nil {
		return file, err
	}
	return c.unpack(k)
}

// unpack makes the unpacked kernel in the cache.
func (c *cache) unpack(k *Kernel) (file *os.File, err error) {
	c.sweep()
	rec := record{Kernel: c.path, Checked: time.Now()}
	if rec.KernelID, err = identify(k.file); err != nil {
		return nil, err
	}
	if rec.Digest, err = hashFile(k.file); err != nil {
		return nil, err
	}
	temp, err := unpackTo(folder(c.dir), k)
	if err != nil {
		return nil, err
	}
	defer temp.Close()
	if rec.ELF, err = hashFile(temp); err == nil {
		err = unchanged(k.file, rec.KernelID)
	}
	if err == nil {
		file, err = c.keep(temp, rec)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return file, err
}

// unchanged fails if the file has been written to since it was identified: then what has been read of it may be parts
// of two kernels.
func unchanged(f *os.File, was fileID) error {
	is, err := identify(f)
	if err == nil && is != was {
		err = fmt.Errorf("%w: changed while it was read", ErrCorrupt)
	}
	return err
}

func unpackAnonymous(k *Kernel) (*os.File, error) {
	file, err := unpackTo(anonymous, k)
	if err != nil {
		return nil, err
	}
	// The kernel itself now holds that nobody changes it.
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		file.Close()
		return nil, os.NewSyscallError("seal memfd", err)
	}
	return file, nil
}

// unpackTo writes the ELF kernel in k to a new file. If its segments don't lie in the file so that they can be mapped,
// or k is an ELF file already, whose sections and debug information nobody needs here, its loadable part alone is laid
// out anew.
func unpackTo(where folder, k *Kernel) (*os.File, error) {
	if k.Format == ELF {
		return where.newFile(func(f *os.File) error { return k.Image.writeTo(f, k.file) })
	}
	file, err := where.newFile(func(f *os.File) error { return sparsely(f, k.decompress) })
	if err != nil {
		return nil, err
	}
	image, err := imageOf(file)
	if err == nil && image.mappable() {
		return file, nil
	}
	defer where.discard(file)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return where.newFile(func(f *os.File) error { return image.writeTo(f, file) })
}

func imageOf(f *os.File) (*Image, error) {
	k := &Kernel{file: f}
	if err := k.readHeaders(); err != nil {
		return nil, err
	}
	if k.Format != ELF {
		return nil, fmt.Errorf("%w: a %v within the bzImage", ErrFormat, k.Format)
	}
	return k.Image, nil
}
