package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"tandem/boot"
)

// Import keeps a kernel of the user's: a bzImage or vmlinux with the modules in modulesDir (a /lib/modules/RELEASE;
// empty is none), or a Debian package with both. An empty name is the kernel's release. A name that is taken is refused
// with [ErrExists]. progress may be nil.
func (s *Store) Import(ctx context.Context, file, name, modulesDir string, progress Progress) (Kernel, error) {
	k, err := s.importFile(ctx, file, name, modulesDir, quiet(progress))
	if err != nil {
		return Kernel{}, fmt.Errorf("store: import %s: %w", file, err)
	}
	return k, nil
}

func (s *Store) importFile(ctx context.Context, file, name, modulesDir string, progress Progress) (Kernel, error) {
	if name != "" {
		if err := checkName(name); err != nil {
			return Kernel{}, err
		}
	}
	deb, err := isPackage(file)
	if err != nil {
		return Kernel{}, err
	}
	fill := importImage
	if deb {
		fill = importPackage
	}
	source, err := filepath.Abs(file)
	if err != nil {
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
	return s.add(func(dir *os.Root) (string, record, error) {
		release, err := fill(ctx, dir, file, modulesDir, progress)
		if err != nil {
			return "", record{}, err
		}
		if name == "" {
			name = release
		}
		if name == "" {
			return "", record{}, fmt.Errorf("the kernel does not tell its release, so it needs a name: %w", ErrName)
		}
		if _, err := s.read(name); err == nil {
			return "", record{}, fmt.Errorf("%q: %w", name, ErrExists)
		}
		return name, record{Release: release, Source: source}, nil
	}, progress, refuse)
}

// isPackage tells a Debian package, which is an ar archive, from a kernel.
func isPackage(file string) (bool, error) {
	st, err := os.Stat(file)
	if err != nil {
		return false, err
	}
	if !st.Mode().IsRegular() { // and to open a pipe would wait for its writer
		return false, fmt.Errorf("not a regular file: %w", boot.ErrFormat)
	}
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	const magic = "!<arch>\n"
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(head[:n]) == magic, nil
}

func importPackage(ctx context.Context, dir *os.Root, file, modulesDir string, progress Progress) (release string, err error) {
	if err := lookPath("dpkg-deb"); err != nil {
		return "", err
	}
	if modulesDir != "" {
		return "", fmt.Errorf("a package has its own modules, so no folder of modules (%s) goes with it: %w", modulesDir, ErrPackage)
	}
	u := newUnpacker(dir)
	if err := u.deb(ctx, file, progress); err != nil {
		return "", err
	}
	return u.finish()
}

func importImage(ctx context.Context, dir *os.Root, file, modulesDir string, progress Progress) (release string, err error) {
	k, err := boot.Open(file)
	if err != nil {
		return "", err
	}
	release, _, _ = strings.Cut(k.Version, " ")
	if err := k.Close(); err != nil {
		return "", err
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if release == "" {
		if release, err = bannerRelease(f); err != nil {
			return "", err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
	}
	progress("copy "+filepath.Base(file), 0, 0)
	if err := copyInto(dir, imageFile, f); err != nil {
		return "", err
	}
	if modulesDir == "" {
		return release, nil
	}
	base, err := filepath.Abs(modulesDir)
	if err != nil {
		return "", err
	}
	tree := filepath.Base(base)
	if release == "" {
		release = tree
	}
	if release != tree {
		return "", fmt.Errorf("the kernel is %s, its modules in %s are for %s: %w", release, modulesDir, tree, ErrPackage)
	}
	return release, copyModules(ctx, dir, base, progress)
}

// bannerRelease finds linux_banner, "Linux version RELEASE (who built it) ...", in an uncompressed kernel; empty if
// there is none.
func bannerRelease(r io.Reader) (string, error) {
	const prefix, longest = "Linux version ", 80
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		window, err := in.Peek(1 << 20)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		// The format string of a kernel's own "Linux version %s" is no release: that begins with a digit.
		for at := 0; ; {
			i := bytes.Index(window[at:], []byte(prefix))
			if i < 0 {
				break
			}
			at += i + len(prefix)
			release, _, ok := bytes.Cut(window[at:min(at+longest, len(window))], []byte(" "))
			if ok && len(release) > 0 && release[0] >= '0' && release[0] <= '9' && checkName(string(release)) == nil {
				return string(release), nil
			}
		}
		// The next window begins early enough to see a banner that this one cut.
		step := len(window) - len(prefix) - longest
		if err != nil || step <= 0 {
			return "", nil
		}
		if _, err := in.Discard(step); err != nil {
			return "", err
		}
	}
}

// copyModules copies the modules and index files of a tree; links that lead out of the tree are refused.
func copyModules(ctx context.Context, dir *os.Root, tree string, progress Progress) error {
	from, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer from.Close()
	to := path.Join(modulesRoot, "lib/modules", filepath.Base(tree))
	if err := dir.MkdirAll(to, 0o755); err != nil {
		return err
	}
	var files, size int64
	err = fs.WalkDir(from.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		base := path.Base(p)
		index := path.Dir(p) == "." && strings.HasPrefix(base, "modules.")
		if d.IsDir() || !index && !strings.Contains(base, ".ko") {
			return nil
		}
		st, err := from.Stat(p)
		if err != nil {
			return fmt.Errorf("module tree %s: %w", tree, err)
		}
		if !st.Mode().IsRegular() {
			return fmt.Errorf("module tree %s: %s is no regular file: %w", tree, p, ErrPackage)
		}
		f, err := from.Open(p)
		if err != nil {
			return fmt.Errorf("module tree %s: %w", tree, err)
		}
		defer f.Close()
		size += st.Size()
		if files++; files > maxFiles {
			return fmt.Errorf("module tree %s: more than %d files: %w", tree, int64(maxFiles), ErrTooLarge)
		}
		if files%64 == 0 {
			progress("copy modules", size, 0)
		}
		return copyInto(dir, path.Join(to, p), f)
	})
	return err
}

// copyInto makes a file below dir with what r has.
func copyInto(dir *os.Root, name string, r io.Reader) error {
	if err := dir.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
