package cpio

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// GNU cpio is the other implementation: what it reads is as we meant it, and what it writes we read.

func TestToolReadsOurs(t *testing.T) {
	testenv.Need(t, testenv.CPIO)
	dir := t.TempDir()
	cmd := exec.Command("cpio", "-i", "--quiet", "--no-preserve-owner", "etc*", "tmp", "bin*", "five", "empty")
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(tree(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio -i: %v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "etc/tandem/init.json"))
	if err != nil || string(data) != "{}\n" {
		t.Errorf("init.json = %q, %v", data, err)
	}
	target, err := os.Readlink(filepath.Join(dir, "bin/sh"))
	if err != nil || target != "/bin/busybox" {
		t.Errorf("bin/sh -> %q, %v", target, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "tmp"), &st); err != nil || st.Mode != unix.S_IFDIR|0o1777 {
		t.Errorf("tmp has mode %o, %v", st.Mode, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "five")); err != nil || st.Size() != 5 || st.ModTime().Unix() == 0 {
		t.Errorf("five: %v, %v", st, err)
	}

	list := exec.Command("cpio", "-itv", "--quiet", "dev/console")
	list.Stdin = bytes.NewReader(tree(t))
	out, err := list.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "crw-------") || !strings.Contains(string(out), "5,   1") {
		t.Errorf("cpio -itv dev/console: %s, %v; want a character device 5, 1", out, err)
	}
}

func TestWeReadTheTools(t *testing.T) {
	testenv.Need(t, testenv.CPIO)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o750); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 12345)
	if err := os.WriteFile(filepath.Join(dir, "a/b/file"), []byte(body), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b/file", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"newc", "crc"} {
		cmd := exec.Command("cpio", "-o", "--quiet", "-H", format)
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader(".\n./a\n./a/b\na/b/file\na/link\nfifo\n")
		archive, err := cmd.Output()
		if err != nil {
			t.Fatalf("cpio -o -H %s: %v", format, err)
		}
		items, err := readAll(bytes.NewReader(archive))
		if err != nil || len(items) != 6 {
			t.Fatalf("%s: %d entries, %v; want 6", format, len(items), err)
		}
		for i, want := range []item{
			{Entry{Name: ".", Mode: unix.S_IFDIR}, ""},
			{Entry{Name: "./a", Mode: unix.S_IFDIR}, ""}, // GNU cpio keeps the dot of some names
			{Entry{Name: "./a/b", Mode: unix.S_IFDIR}, ""},
			{Entry{Name: "a/b/file", Mode: unix.S_IFREG}, body},
			{Entry{Name: "a/link", Mode: unix.S_IFLNK}, "b/file"},
			{Entry{Name: "fifo", Mode: unix.S_IFIFO}, ""},
		} {
			got := items[i]
			if trimDot(got.Name) != trimDot(want.Name) || got.Mode&unix.S_IFMT != want.Mode || got.body != want.body {
				t.Errorf("%s: entry %d is %q %o with %d bytes, want %q %o with %d", format, i, got.Name, got.Mode, len(got.body), want.Name, want.Mode, len(want.body))
			}
		}
	}
}
