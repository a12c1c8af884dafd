package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// tree writes an archive that has one of each kind.
func tree(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, err := range []error{
		w.Dir(".", 0o755),
		w.Dir("tmp", 0o1777),
		w.Bytes("etc/tandem/init.json", 0o600, []byte("{}\n")),
		w.Bytes("/empty", 0o644, nil),
		w.Symlink("bin/sh", "/bin/busybox"),
		w.Device("dev/console", unix.S_IFCHR|0o600, 5, 1),
		w.File("five", 0o4755, 5, strings.NewReader("12345, and what is not asked for")),
		w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

type item struct {
	Entry
	body string
}

func readAll(r io.Reader) ([]item, error) {
	var items []item
	c := NewReader(r)
	for {
		e, err := c.Next()
		if errors.Is(err, io.EOF) {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		body, err := io.ReadAll(c)
		if err != nil {
			return items, err
		}
		items = append(items, item{e, string(body)})
	}
}

func TestRoundTrip(t *testing.T) {
	archive := tree(t)
	if len(archive)%PageSize != 0 {
		t.Errorf("archive has %d bytes, no whole pages", len(archive))
	}
	items, err := readAll(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	inodes := map[uint32]bool{}
	for _, i := range items {
		got = append(got, fmt.Sprintf("%s %o %d:%d %q", i.Name, i.Mode, i.RMajor, i.RMinor, i.body))
		if i.MTime != mtime || i.UID != 0 || i.GID != 0 || inodes[i.Ino] {
			t.Errorf("%s: mtime %d, owner %d:%d, inode %d; want mtime %d, owner 0:0, an inode of its own", i.Name, i.MTime, i.UID, i.GID, i.Ino, mtime)
		}
		inodes[i.Ino] = true
	}
	want := []string{
		`. 40755 0:0 ""`,
		`tmp 41777 0:0 ""`,
		`etc 40755 0:0 ""`,
		`etc/tandem 40755 0:0 ""`,
		`etc/tandem/init.json 100600 0:0 "{}\n"`,
		`empty 100644 0:0 ""`,
		`bin 40755 0:0 ""`,
		`bin/sh 120777 0:0 "/bin/busybox"`,
		`dev 40755 0:0 ""`,
		`dev/console 20600 5:1 ""`,
		`five 104755 0:0 "12345"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("read back\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if again := tree(t); !bytes.Equal(archive, again) {
		t.Error("the same calls gave different bytes")
	}
}

func TestConcatenation(t *testing.T) {
	one := tree(t)
	for _, gap := range []int{0, 4, 512, PageSize} {
		joined := append(append(bytes.Clone(one), make([]byte, gap)...), one...)
		items, err := readAll(bytes.NewReader(joined))
		if err != nil || len(items) != 22 {
			t.Errorf("gap of %d: %d entries, %v; want 22", gap, len(items), err)
		}
	}
	// The kernel counts a header's alignment from the start of all archives, and takes no other.
	joined := append(append(bytes.Clone(one), 0, 0), one...)
	if _, err := readAll(bytes.NewReader(joined)); !errors.Is(err, ErrFormat) {
		t.Errorf("second archive at an odd place: %v, want %v", err, ErrFormat)
	}
}

func TestWriterRefuses(t *testing.T) {
	long := strings.Repeat("a", unix.NAME_MAX+1)
	deep := strings.Repeat("a/", MaxName/2)
	for _, c := range []struct {
		name string
		call func(w *Writer) error
		want error
	}{
		{"parent", func(w *Writer) error { return w.Bytes("../etc/passwd", 0o644, nil) }, ErrName},
		{"dot in the middle", func(w *Writer) error { return w.Bytes("a/./b", 0o644, nil) }, ErrName},
		{"dots in the middle", func(w *Writer) error { return w.Bytes("a/../b", 0o644, nil) }, ErrName},
		{"doubled slash", func(w *Writer) error { return w.Bytes("a//b", 0o644, nil) }, ErrName},
		{"slash at the end", func(w *Writer) error { return w.Dir("a/", 0o755) }, ErrName},
		{"NUL", func(w *Writer) error { return w.Bytes("a\x00b", 0o644, nil) }, ErrName},
		{"trailer", func(w *Writer) error { return w.Bytes("TRAILER!!!", 0o644, nil) }, ErrName},
		{"long part", func(w *Writer) error { return w.Bytes(long, 0o644, nil) }, ErrName},
		{"long path", func(w *Writer) error { return w.Bytes(deep+"a", 0o644, nil) }, ErrName},
		{"no name", func(w *Writer) error { return w.Bytes("", 0o644, nil) }, ErrName},
		{"the root as a file", func(w *Writer) error { return w.Bytes("/", 0o644, nil) }, ErrName},
		{"empty target", func(w *Writer) error { return w.Symlink("l", "") }, ErrName},
		{"long target", func(w *Writer) error { return w.Symlink("l", deep+"a") }, ErrName},
		{"NUL in target", func(w *Writer) error { return w.Symlink("l", "a\x00") }, ErrName},
		{"twice", func(w *Writer) error { return w.Bytes("file", 0o644, nil) }, ErrExists},
		{"folder in place of a file", func(w *Writer) error { return w.Dir("file", 0o755) }, ErrExists},
		{"file in place of a folder", func(w *Writer) error { return w.Bytes("dir", 0o644, nil) }, ErrExists},
		{"below a file", func(w *Writer) error { return w.Bytes("file/x", 0o644, nil) }, ErrNotDir},
		{"below a link", func(w *Writer) error { return w.Bytes("link/x", 0o644, nil) }, ErrNotDir},
		{"4 GiB", func(w *Writer) error { return w.File("big", 0o644, 1<<32, nil) }, ErrTooLarge},
		{"negative", func(w *Writer) error { return w.File("neg", 0o644, -1, nil) }, ErrTooLarge},
	} {
		var b bytes.Buffer
		w := NewWriter(&b)
		for _, err := range []error{w.Bytes("file", 0o644, nil), w.Dir("dir", 0o755), w.Symlink("link", "dir")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := c.call(w); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		// What was refused is as if it had not been tried.
		if err := w.Bytes("after", 0o644, []byte("x")); err != nil {
			t.Errorf("%s: next entry: %v", c.name, err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("%s: close: %v", c.name, err)
		}
		if _, err := readAll(&b); err != nil {
			t.Errorf("%s: read back: %v", c.name, err)
		}
	}
	w := NewWriter(io.Discard)
	if err := w.Device("dev/x", unix.S_IFREG|0o600, 1, 3); err == nil {
		t.Error("a device that is a regular file was taken")
	}
}

func TestWriterKeepsItsError(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.File("short", 0o644, 10, strings.NewReader("12345")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if err := w.Close(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("close after a short body: %v, want %v", err, io.ErrUnexpectedEOF)
	}

	full := errors.New("disk full")
	w = NewWriter(&failing{left: 200, err: full})
	if err := w.Bytes("a", 0o644, make([]byte, 100)); !errors.Is(err, full) {
		t.Errorf("full disk: %v, want %v", err, full)
	}
	if err := w.Dir("b", 0o755); !errors.Is(err, full) {
		t.Errorf("after a full disk: %v, want %v", err, full)
	}

	w = NewWriter(io.Discard)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Dir("late", 0o755); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v, want %v", err, ErrClosed)
	}
}

// A failing takes so many bytes.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, f.err
	}
	f.left -= len(p)
	return len(p), nil
}

func TestLargestFile(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.File("big", 0o644, MaxFileSize, endless{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := int64(1<<32 + PageSize); w.Size() != want {
		t.Errorf("size %d, want %d", w.Size(), want)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// patch gives the archive with bytes replaced at an offset.
func patch(archive []byte, at int, s string) []byte {
	p := bytes.Clone(archive)
	copy(p[at:], s)
	return p
}

func TestReaderRefuses(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := errors.Join(w.Bytes("name", 0o644, []byte("body")), w.Close()); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	const (
		mode, nlink, filesize, namesize = 6 + 8, 6 + 4*8, 6 + 6*8, 6 + 11*8
		name                            = headerSize
	)
	for _, c := range []struct {
		what    string
		archive []byte
		want    error
		at      string // part of the message
	}{
		{"empty", nil, ErrFormat, "empty"},
		{"only zeros", make([]byte, 4096), ErrFormat, "empty"},
		{"text", []byte("#!/bin/sh\necho this is not an archive\n"), ErrFormat, `magic "#!/bin"`},
		{"long text", bytes.Repeat([]byte("not an archive"), 100), ErrFormat, `magic "not an"`},
		{"old binary cpio", patch(good, 0, "070707"), ErrFormat, `magic "070707"`},
		{"cut in the header", good[:50], io.ErrUnexpectedEOF, "header"},
		{"cut in the name", good[:name+2], io.ErrUnexpectedEOF, "name"},
		{"cut in the body", good[:name+8], io.ErrUnexpectedEOF, "body"},
		{"no trailer", good[:name+6+4], io.ErrUnexpectedEOF, "header"},
		{"digits", patch(good, mode, "000081g4"), ErrFormat, `"000081g4"`},
		{"sign", patch(good, mode, "+00081a4"), ErrFormat, `"+00081a4"`},
		{"name of no bytes", patch(good, namesize, "00000000"), ErrFormat, "name of 0 bytes"},
		{"name of a gigabyte", patch(good, namesize, "40000000"), ErrFormat, "name of 1073741824 bytes"},
		{"name without NUL", patch(good, name+4, "x"), ErrFormat, "NUL"},
		{"name that leads out", patch(good, name, "../x"), ErrName, ".."},
		{"unknown mode", patch(good, mode, "0000F1A4"), ErrFormat, "mode"},
		{"folder with a body", patch(good, mode, "000041ED"), ErrFormat, "body"},
		{"body of 4 GiB", patch(good, filesize, "FFFFFFFF"), io.ErrUnexpectedEOF, ""},
		{"dirty padding", patch(good, name+5, "x"), ErrFormat, "padding"},
		{"junk behind", append(bytes.Clone(good), "junk"...), ErrFormat, "magic"},
	} {
		for _, r := range []io.Reader{bytes.NewReader(c.archive), onlyReader{bytes.NewReader(c.archive)}} {
			_, err := readAll(r)
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.at) {
				t.Errorf("%s: %v, want %v with %q", c.what, err, c.want, c.at)
			}
		}
	}
	if _, err := readAll(bytes.NewReader(patch(good, nlink, "00000002"))); err != nil {
		t.Errorf("a hard link is legal: %v", err)
	}
}

// onlyReader hides that a reader can seek.
type onlyReader struct{ io.Reader }

func TestBetween(t *testing.T) {
	archive := append(tree(t), "\x1f\x8bgzip"...)
	r := NewReader(bytes.NewReader(archive))
	var err error
	for err == nil {
		_, err = r.Next()
	}
	at, ok := r.Between()
	if want := int64(len(archive) - 6); !ok || at != want {
		t.Errorf("between archives: %d, %v, want %d, true (%v)", at, ok, want, err)
	}
	r = NewReader(strings.NewReader("\x1f\x8bgzip"))
	if _, err = r.Next(); err == nil {
		t.Fatal("gzip was read as cpio")
	}
	if _, ok := r.Between(); ok {
		t.Error("the very first header is between archives")
	}
}

func FuzzReader(f *testing.F) {
	archive := tree(f)
	f.Add(archive)
	f.Add(append(bytes.Clone(archive), archive...))
	f.Add(archive[:300])
	f.Add(patch(archive, 6+6*8, "FFFFFFFF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := readAll(onlyReader{bytes.NewReader(data)})
		leaping, lerr := skipAll(bytes.NewReader(data))
		if (err == nil) != (lerr == nil) || err == nil && len(items) != leaping {
			t.Fatalf("reading: %d entries, %v; leaping: %d entries, %v", len(items), err, leaping, lerr)
		}
		if err != nil {
			return
		}
		// What was read can be written again, but for what the writer has no call for and names that come twice.
		var b bytes.Buffer
		w := NewWriter(&b)
		for _, i := range items {
			name := trimDot(i.Name)
			var err error
			switch i.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				err = w.Dir(name, i.Mode&0o7777)
			case unix.S_IFREG:
				err = w.Bytes(name, i.Mode&0o7777, []byte(i.body))
			case unix.S_IFLNK:
				err = w.Symlink(name, i.body)
			case unix.S_IFCHR, unix.S_IFBLK:
				err = w.Device(name, i.Mode, i.RMajor, i.RMinor)
			}
			if err != nil && !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotDir) && !errors.Is(err, ErrName) {
				t.Fatalf("write %q: %v", i.Name, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(&b); err != nil {
			t.Fatalf("read what was written: %v", err)
		}
	})
}

func skipAll(r io.ReadSeeker) (int, error) {
	c := NewReader(r)
	for n := 0; ; n++ {
		if _, err := c.Next(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}
