package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/boot/cpio"
)

func TestOverlay(t *testing.T) {
	data, err := Overlay([]byte(`{"hostname":"x"}`),
		File{Name: "/usr/local/bin/tool", Mode: 0o755, Data: []byte("tool")},
		File{Name: "etc/link", Mode: unix.S_IFLNK | 0o777, Data: []byte("../usr")},
		File{Name: "srv", Mode: unix.S_IFDIR | 0o700},
	)
	if err != nil {
		t.Fatal(err)
	}
	if len(data)%cpio.PageSize != 0 {
		t.Errorf("%d bytes are no whole pages", len(data))
	}
	got := list(t, bytes.NewReader(data))
	for name, want := range map[string]string{
		"etc/tandem/init.json": `100600 {"hostname":"x"}`,
		"usr/local/bin/tool":   "100755 tool",
		"etc/link":             "120777 ../usr",
		"srv":                  "40700 ",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for what, file := range map[string]File{
		"leads out":       {Name: "../x"},
		"no name":         {Name: ""},
		"configuration":   {Name: ConfigPath},
		"device":          {Name: "x", Mode: unix.S_IFCHR},
		"link to nowhere": {Name: "x", Mode: unix.S_IFLNK},
	} {
		if _, err := Overlay([]byte("{}"), file); err == nil {
			t.Errorf("%s was added", what)
		}
	}
	half := make([]byte, maxOverlay/2+1)
	if _, err := Overlay(nil, File{Name: "a", Data: half}, File{Name: "b", Data: half}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too much: %v, want %v", err, ErrTooLarge)
	}
	if empty, err := Overlay(nil); err != nil || len(list(t, bytes.NewReader(empty))) != 0 {
		t.Errorf("nothing to add: %v", err)
	}
}

func TestAddTree(t *testing.T) {
	src := t.TempDir()
	must(t, errors.Join(
		os.MkdirAll(filepath.Join(src, "d/e"), 0o750),
		os.WriteFile(filepath.Join(src, "d/e/f"), []byte("body"), 0o640),
		os.Symlink("/somewhere/else", filepath.Join(src, "d/l")),
		os.Symlink("d", filepath.Join(src, "top")),
	))
	files, err := AddTree(filepath.Join(src, "top"), "/srv/x")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprintf("%s %o %s", f.Name, f.Mode, f.Data))
	}
	want := "/srv/x 40750 |/srv/x/e 40750 |/srv/x/e/f 100640 body|/srv/x/l 120777 /somewhere/else"
	if strings.Join(got, "|") != want {
		t.Errorf("added %q, want %q", strings.Join(got, "|"), want)
	}
	one, err := AddTree(filepath.Join(src, "d/e/f"), "/bin/f")
	if err != nil || len(one) != 1 || one[0].Name != "/bin/f" || string(one[0].Data) != "body" {
		t.Errorf("one file: %+v, %v", one, err)
	}
	if _, err := Overlay(nil, files...); err != nil {
		t.Error(err)
	}

	if _, err := AddTree(filepath.Join(src, "nosuch"), "/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	big := filepath.Join(src, "big")
	must(t, os.WriteFile(big, nil, 0o644))
	must(t, os.Truncate(big, maxOverlay+1))
	if _, err := AddTree(big, "/x"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("sparse gigabyte: %v, want %v", err, ErrTooLarge)
	}
	must(t, errors.Join(os.Remove(big), unix.Mkfifo(filepath.Join(src, "d/pipe"), 0o600)))
	if _, err := AddTree(src, "/x"); err == nil || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("pipe: %v", err)
	}
}

func TestCheck(t *testing.T) {
	archive, err := Overlay([]byte("{}"), File{Name: "a", Data: bytes.Repeat([]byte("x"), 100_000)})
	if err != nil {
		t.Fatal(err)
	}
	joined := append(bytes.Clone(archive), archive...)
	for what, c := range map[string]struct {
		data   []byte
		format string
	}{
		"one archive":  {archive, "cpio"},
		"two":          {joined, "cpio"},
		"gzip":         {[]byte("\x1f\x8b\x08\x00"), "gzip"},
		"zstd":         {[]byte("\x28\xb5\x2f\xfd\x00"), "zstd"},
		"xz":           {[]byte("\xfd7zXZ\x00\x00"), "xz"},
		"microcode":    {append(bytes.Clone(archive), "\x28\xb5\x2f\xfd and so on"...), "cpio+zstd"},
		"empty":        {nil, ""},
		"text":         {[]byte("#!/bin/sh\n"), ""},
		"zeros":        {make([]byte, 8192), ""},
		"cut":          {archive[:1000], ""},
		"cut body":     {archive[:50_000], ""},
		"cut second":   {joined[:len(archive)+1000], ""},
		"junk behind":  {append(bytes.Clone(archive), "junk that is no archive"...), ""},
		"a disk image": {append(make([]byte, 1024), "\x00\x01\x02"...), ""},
	} {
		format, err := Check(bytes.NewReader(c.data), int64(len(c.data)))
		if format != c.format || (err == nil) != (c.format != "") || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %q, %v; want %q", what, format, err, c.format)
		}
	}
}

func FuzzCheck(f *testing.F) {
	archive, err := Overlay([]byte("{}"), File{Name: "a", Data: []byte("x")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(archive)
	f.Add(append(bytes.Clone(archive), "\x1f\x8b"...))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		format, err := Check(bytes.NewReader(data), int64(len(data)))
		if (format == "") != (err != nil) {
			t.Fatalf("%q, %v", format, err)
		}
	})
}
