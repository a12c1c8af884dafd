package nettest

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem/internal/linked"
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

// Add puts a program there, or what a link of that name leads to, with all that it is linked with.
func (r *RootFS) Add(program, name string) {
	r.t.Helper()
	r.copyFile(program, name)
	p, err := linked.Find(r.t.Context(), program)
	r.must(err)
	for _, file := range p.Files()[1:] { // the program is there
		if !r.has(file) {
			r.copyFile(file, file)
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
