package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var noon = time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)

// item is one entry of an archive to be made.
type item struct {
	tar.Header
	body string
}

func file(name, body string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: noon, Size: int64(len(body))}, body}
}

func folderItem(name string, mode int64) item {
	return item{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: noon}}
}

func symlink(name, to string) item {
	return item{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777, ModTime: noon}}
}

func hardLink(name, to string) item {
	return item{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, ModTime: noon}}
}

func (i item) with(change func(*tar.Header)) item { change(&i.Header); return i }

// pack makes an archive.
func pack(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if i.Format == tar.FormatUnknown && !i.ModTime.IsZero() {
			i.Format = tar.FormatPAX // for the nanoseconds
		}
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(i.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpacked is a folder that something was unpacked into.
type unpacked struct {
	dir     string
	entries map[string]Entry
	Result
}

// unpack unpacks into a fresh folder; the list of entries goes through its text and back.
func unpack(t testing.TB, archive []byte, o Options) (unpacked, error) {
	t.Helper()
	u := unpacked{dir: filepath.Join(t.TempDir(), "diff"), entries: map[string]Entry{}}
	if err := os.Mkdir(u.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(u.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var text bytes.Buffer
	o.Record = func(e Entry) error {
		text.Write(e.AppendText(nil))
		return nil
	}
	u.Result, err = Unpack(context.Background(), dir, bytes.NewReader(archive), o)
	if e := ReadList(&text, func(e Entry) error { u.entries[e.Path] = e; return nil }); e != nil {
		t.Fatal(e)
	}
	return u, err
}

func mustUnpack(t testing.TB, archive []byte, o Options) unpacked {
	t.Helper()
	u, err := unpack(t, archive, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (u unpacked) path(name string) string { return filepath.Join(u.dir, name) }

func (u unpacked) stat(t testing.TB, name string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(u.path(name), &st); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return st
}

func xattr(t testing.TB, path, name string) (string, bool) {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, name, b)
	if err == unix.ENODATA {
		return "", false
	}
	if err != nil {
		t.Fatalf("%s: attribute %s: %v", path, name, err)
	}
	return string(b[:n]), true
}

// names lists a tree, for messages.
func names(t testing.TB, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		all = append(all, d.Type().String()[:1]+rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}
