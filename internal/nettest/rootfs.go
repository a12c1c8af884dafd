package nettest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// RootFS is a folder with busybox's commands, and programs of the host's with all that they are linked with.
type RootFS struct {
	t   testing.TB
	Dir string
}

// NewRootFS makes one.
func NewRootFS(t testing.TB) *RootFS {
	t.Helper()
	r := &RootFS{t, t.TempDir()}
	for _, dir := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		r.must(os.MkdirAll(filepath.Join(r.Dir, dir), 0o755))
	}
	r.Write("etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\n")
	busybox, err := exec.LookPath("busybox")
	r.must(err)
	r.copyFile(busybox, "bin/busybox")
	for _, name := range []string{"sh", "cat", "ip", "mount", "sed", "sha256sum", "sleep"} {
		r.must(os.Symlink("busybox", filepath.Join(r.Dir, "bin", name)))
	}
	return r
}

func (r *RootFS) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// Write makes a file, and its folders.
func (r *RootFS) Write(name string, mode fs.FileMode, text string) {
	r.t.Helper()
	path := filepath.Join(r.Dir, name)
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	r.must(os.WriteFile(path, []byte(text), mode))
}

// inLddOutput is a library in what ldd says, the dynamic linker among them.
var inLddOutput = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// Add puts a program there, or what a link of that name leads to.
func (r *RootFS) Add(program, name string) {
	r.t.Helper()
	r.copyFile(program, name)
	out, err := exec.Command("ldd", program).Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err) // it fails for a program that needs nothing
	}
	for _, m := range inLddOutput.FindAllSubmatch(out, -1) {
		if library := string(m[1]); !r.has(library) {
			r.copyFile(library, library)
		}
	}
}

func (r *RootFS) has(name string) bool {
	_, err := os.Stat(filepath.Join(r.Dir, name))
	return err == nil
}

func (r *RootFS) copyFile(from, name string) {
	r.t.Helper()
	text, err := os.ReadFile(from)
	r.must(err)
	r.Write(name, 0o755, string(text))
}

// Archive is all of it, as tar(1) packs it.
func (r *RootFS) Archive() []byte {
	r.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	r.must(w.AddFS(os.DirFS(r.Dir)))
	r.must(w.Close())
	return b.Bytes()
}
