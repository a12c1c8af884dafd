package initramfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/internal/linked"
	"tandem/internal/testenv"
)

// TestProgramRuns has a dynamically linked program run where there is nothing else.
func TestProgramRuns(t *testing.T) {
	testenv.Need(t, testenv.Root) // chroot
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	p, err := linked.Find(t.Context(), bash)
	if err != nil || p.Loader == "" || !slices.ContainsFunc(p.Libraries, func(l linked.Library) bool { return strings.HasPrefix(l.Name, "libc.") }) {
		t.Fatalf("Find(%s) = %+v, %v, want a loader and the C library", bash, p, err)
	}
	files, err := AddProgram(p)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, f := range files {
		path := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, os.FileMode(f.Mode)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("chroot", root, bash, "-c", "echo $((6 * 7))").CombinedOutput()
	if err != nil || string(out) != "42\n" {
		t.Errorf("in a root of its own it says %q, %v, want 42", out, err)
	}
}

func TestApplets(t *testing.T) {
	testenv.Need(t, testenv.Busybox)
	p, err := linked.Find(t.Context(), hostBusybox())
	if err != nil || p.Loader != "" || len(p.Libraries) != 0 {
		t.Fatalf("%+v, %v, want nothing but the program", p, err)
	}
	if files, err := AddProgram(p); err != nil || len(files) != 1 {
		t.Errorf("%d files, %v, want 1", len(files), err)
	}
	applets, err := Applets(t.Context())
	if err != nil || !slices.Contains(applets, "/bin/sh") || !slices.Contains(applets, "/bin/busybox") || slices.Contains(applets, "/sbin/init") {
		t.Errorf("applets %q, %v, want a shell, and no init", applets, err)
	}
}
