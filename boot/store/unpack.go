package store

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what dpkg records; the package itself is verified with sha256
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds on what a package may unpack to. Debian's full kernel has about 4000 files and 400 MiB.
const (
	maxFiles    = 100_000
	maxFile     = 1 << 30
	maxUnpacked = 4 << 30
	maxSums     = 64 << 20
)

// ErrPackage tells a package that is broken, or made to do harm.
var ErrPackage = errors.New("malformed package")

// ErrTooLarge tells a package that would unpack to more than any kernel has.
var ErrTooLarge = errors.New("unpacks to too much")

// An unpacker takes a kernel's files out of packages: image, configuration, symbols, modules. All else in them is
// passed over. Everything is written below one folder through an os.Root, so no name and no link leads out of it.
type unpacker struct {
	dir     *os.Root
	release string // of the modules
	image   string // suffix of the image's name
	files   int
	size    int64
	// Tests lower the bounds.
	maxFiles             int
	maxFile, maxUnpacked int64
}

func newUnpacker(dir *os.Root) *unpacker {
	return &unpacker{dir: dir, maxFiles: maxFiles, maxFile: maxFile, maxUnpacked: maxUnpacked}
}

// deb unpacks one package, and checks its files against its own list of digests.
func (u *unpacker) deb(ctx context.Context, file string, progress Progress) error {
	sums, err := debSums(ctx, file)
	if err != nil {
		return err
	}
	cmd := command(ctx, "dpkg-deb", "--fsys-tarfile", file)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	tarErr := u.tar(out, sums, progress)
	// The pipe has to go first: Wait waits for dpkg-deb's child, and that one to be rid of its output.
	closeErr := out.Close()
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case waitErr != nil && (tarErr == nil || errors.Is(tarErr, io.ErrUnexpectedEOF)):
		// dpkg-deb's own words say more than that its output ended early.
		return fmt.Errorf("%w: %w", ErrPackage, failed(ctx, "dpkg-deb", waitErr, words.Bytes()))
	}
	return errors.Join(tarErr, closeErr)
}

// debSums reads the package's md5sums: lines of "DIGEST  path". A package need not have one.
func debSums(ctx context.Context, file string) (map[string]string, error) {
	cmd := command(ctx, "dpkg-deb", "--ctrl-tarfile", file)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limitedBuffer{&out, maxSums}, &words
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPackage, failed(ctx, "dpkg-deb", err, words.Bytes()))
	}
	t := tar.NewReader(&out)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("control archive: %w: %w", ErrPackage, err)
		}
		if path.Clean(h.Name) == "md5sums" {
			if h.Size > maxSums { // with holes it may be longer than the archive
				return nil, fmt.Errorf("md5sums of %d bytes: %w", h.Size, ErrTooLarge)
			}
			return parseSums(t)
		}
	}
}

func parseSums(r io.Reader) (map[string]string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("md5sums: %w: %w", ErrPackage, err)
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(data)) {
		sum, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "  ")
		if !ok || len(sum) != md5.Size*2 {
			return nil, fmt.Errorf("md5sums: line %.100q: %w", line, ErrPackage)
		}
		sums[name] = sum
	}
	return sums, nil
}

// A limitedBuffer is a buffer that fails before it grows too large.
type limitedBuffer struct {
	*bytes.Buffer
	limit int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, ErrTooLarge
	}
	return b.Buffer.Write(p)
}

// tar takes the kernel's files out of a package's file system archive.
func (u *unpacker) tar(r io.Reader, sums map[string]string, progress Progress) error {
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// dpkg-deb would wait for ever to write the padding behind the end.
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPackage, err)
		}
		if n > u.maxFiles {
			return fmt.Errorf("more than %d files: %w", u.maxFiles, ErrTooLarge)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir || name == "" {
			continue
		}
		if !filepath.IsLocal(name) || path.Clean(name) != name {
			return fmt.Errorf("file %q leads out of the package: %w", h.Name, ErrPackage)
		}
		to, ok, err := u.target(name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			// Packages of headers are what build and source lead to; a kernel's own files are never links.
			if base := path.Base(name); h.Typeflag == tar.TypeSymlink && (base == "build" || base == "source") {
				continue
			}
			return fmt.Errorf("%s is no regular file (type %q, link to %q): %w", name, h.Typeflag, h.Linkname, ErrPackage)
		}
		sum, err := u.write(to, h.Size, t)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if want, ok := sums[name]; ok && want != sum {
			return fmt.Errorf("%s has md5 %s, the package says %s: %w", name, sum, want, ErrVerify)
		}
		if u.files++; u.files%64 == 0 {
			progress("unpack", u.size, 0)
		}
	}
}

// target tells where a file of a package goes, if it is one that a kernel is made of.
func (u *unpacker) target(name string) (to string, ok bool, err error) {
	name = strings.TrimPrefix(name, "usr/") // where Debian 13 and Ubuntu have /lib
	if rest, ok := strings.CutPrefix(name, "lib/modules/"); ok {
		release, _, ok := strings.Cut(rest, "/")
		if !ok {
			return "", false, nil
		}
		if u.release == "" {
			u.release = release
		}
		if release != u.release {
			return "", false, fmt.Errorf("modules for %s and for %s: %w", u.release, release, ErrPackage)
		}
		return path.Join(modulesRoot, name), true, nil
	}
	rest, ok := strings.CutPrefix(name, "boot/")
	if !ok {
		return "", false, nil
	}
	for _, f := range []struct{ prefix, to string }{
		{"vmlinuz-", imageFile}, {"vmlinux-", imageFile}, {"config-", configFile}, {"System.map-", mapFile},
	} {
		if suffix, ok := strings.CutPrefix(rest, f.prefix); ok && suffix != "" && !strings.Contains(suffix, "/") {
			if f.to == imageFile {
				if u.image != "" {
					return "", false, fmt.Errorf("two images, for %s and for %s: %w", u.image, suffix, ErrPackage)
				}
				u.image = suffix
			}
			return f.to, true, nil
		}
	}
	return "", false, nil
}

// write makes one file of exactly size bytes, and gives its md5.
func (u *unpacker) write(to string, size int64, r io.Reader) (sum string, err error) {
	if size > u.maxFile || u.size+size > u.maxUnpacked {
		return "", fmt.Errorf("%d bytes behind %d others: %w", size, u.size, ErrTooLarge)
	}
	if dir := path.Dir(to); dir != "." {
		if err := u.dir.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	f, err := u.dir.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("it is in the package twice: %w", ErrPackage)
	}
	if err != nil {
		return "", err
	}
	h := md5.New() //nolint:gosec // see the import
	n, err := io.Copy(io.MultiWriter(f, h), r)
	u.size += n
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// finish checks that a kernel came out, tells its release, and drops what is no use.
func (u *unpacker) finish() (release string, err error) {
	if u.image == "" {
		return "", fmt.Errorf("no boot/vmlinuz-* in it: %w", ErrPackage)
	}
	if u.release != "" && u.release != u.image {
		return "", fmt.Errorf("image for %s, modules for %s: %w", u.image, u.release, ErrPackage)
	}
	return u.image, u.dropStub()
}

// dropStub removes the System.map of Debian, which is two lines that say where the real one is.
func (u *unpacker) dropStub() error {
	st, err := u.dir.Stat(mapFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || st.Size() > 4096 {
		return err
	}
	return u.dir.Remove(mapFile)
}
