package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrVerify tells that a file is not what the index or the package says that it is.
var ErrVerify = errors.New("does not match its recorded digest")

// Pull downloads the kernel that a package of the distribution stands for, with apt, unpacks it without root, and keeps
// it under its release's name. A version that the store has already is not downloaded again. name is a meta package
// such as [LabPackage], or a kernel's own package; empty is [GuestPackage]. progress may be nil.
func (s *Store) Pull(ctx context.Context, name string, progress Progress) (Kernel, error) {
	if name == "" {
		name = GuestPackage
	}
	// Package names are a subset of kernels' names; to apt, some others would be options or patterns.
	if err := checkName(name); err != nil {
		return Kernel{}, fmt.Errorf("store: pull: %w", err)
	}
	k, err := s.pull(ctx, name, quiet(progress))
	if err != nil {
		return Kernel{}, fmt.Errorf("store: pull %s: %w", name, err)
	}
	return k, nil
}

// quiet stands in for a progress that nobody wants.
func quiet(p Progress) Progress {
	if p == nil {
		return func(string, int64, int64) {}
	}
	return p
}

func (s *Store) pull(ctx context.Context, name string, progress Progress) (Kernel, error) {
	if err := lookPath("apt-cache", "apt-get", "dpkg-deb"); err != nil {
		return Kernel{}, err
	}
	unlock, err := s.lockContext(ctx, func() { progress("wait for another pull", 0, 0) })
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	if err := s.sweep(); err != nil {
		return Kernel{}, err
	}
	progress("ask apt for "+name, 0, 0)
	image, parts, err := resolvePackage(ctx, name)
	if err != nil {
		return Kernel{}, err
	}
	source := image.name + " " + image.version
	release := strings.TrimPrefix(strings.TrimPrefix(image.name, "linux-image-"), "unsigned-")
	if k, err := s.read(release); err == nil && k.Source == source {
		return s.renamed(k, name)
	}
	return s.add(func(dir *os.Root) (string, record, error) {
		rel, err := fetch(ctx, dir, parts, progress)
		return rel, record{Release: rel, Package: name, Source: source}, err
	}, progress, replace)
}

// renamed notes that a kernel was pulled under another package's name this time.
func (s *Store) renamed(k Kernel, pkg string) (Kernel, error) {
	if k.Package == pkg {
		return s.Get(k.Name)
	}
	root, err := os.OpenRoot(filepath.Join(s.dir, k.Name))
	if err != nil {
		return Kernel{}, err
	}
	defer root.Close()
	r := record{Release: k.Release, Package: pkg, Source: k.Source, Size: k.Size, Digest: k.Digest, Added: k.Added}
	if err := writeRecord(root, r); err != nil {
		return Kernel{}, err
	}
	return s.Get(k.Name)
}

// resolvePackage follows a meta package to the package that has the kernel's image, and tells which packages make up
// the kernel: Ubuntu has the modules in one of their own.
func resolvePackage(ctx context.Context, name string) (image stanza, parts []stanza, err error) {
	const prefix = "linux-image-"
	for hop := 0; ; hop++ {
		if image, err = aptShow(ctx, name); err != nil {
			return stanza{}, nil, err
		}
		version := strings.TrimPrefix(strings.TrimPrefix(image.name, prefix), "unsigned-")
		if strings.HasPrefix(image.name, prefix) && version != "" && version[0] >= '0' && version[0] <= '9' {
			break
		}
		next := ""
		for _, dep := range image.depends {
			if strings.HasPrefix(dep, prefix) {
				next = dep
				break
			}
		}
		if next == "" || hop == 3 {
			return stanza{}, nil, fmt.Errorf("package %s: it is no kernel's image, and depends on none (%s*)", name, prefix)
		}
		name = next
	}
	parts = []stanza{image}
	for _, dep := range image.depends {
		if strings.HasPrefix(dep, "linux-modules-") {
			modules, err := aptShow(ctx, dep)
			if err != nil {
				return stanza{}, nil, err
			}
			parts = append(parts, modules)
		}
	}
	return image, parts, nil
}

// fetch downloads the packages into dir, checks and unpacks them, and removes them again.
func fetch(ctx context.Context, dir *os.Root, parts []stanza, progress Progress) (release string, err error) {
	u := newUnpacker(dir)
	for _, part := range parts {
		const sub = "download"
		if err := dir.Mkdir(sub, 0o755); err != nil {
			return "", err
		}
		path := filepath.Join(dir.Name(), sub)
		if err := aptDownload(ctx, path, part, progress); err != nil {
			return "", err
		}
		deb, err := downloaded(path, part)
		if err != nil {
			return "", fmt.Errorf("package %s: %w", part.name, err)
		}
		if err := u.deb(ctx, deb, progress); err != nil {
			return "", fmt.Errorf("package %s: %w", part.name, err)
		}
		if err := dir.RemoveAll(sub); err != nil {
			return "", err
		}
	}
	return u.finish()
}

// downloaded finds the file that apt has left, and checks it against the index once more: that apt verified is
// believed, but not that this is the file.
func downloaded(dir string, s stanza) (string, error) {
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(debs) != 1 {
		return "", fmt.Errorf("apt-get download left %d files instead of a package: %w", len(debs), fs.ErrNotExist)
	}
	size, digest, err := digestFile(debs[0])
	if err != nil {
		return "", err
	}
	if size != s.size || digest != s.sha256 {
		return "", fmt.Errorf("%s has %d bytes with sha256 %s, the index says %d and %s: %w", filepath.Base(debs[0]), size, digest, s.size, s.sha256, ErrVerify)
	}
	return debs[0], nil
}

// digestFile gives a file's size and sha256.
func digestFile(path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return 0, "", err
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}
