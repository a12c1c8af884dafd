package initramfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

// TestProgramRuns has a dynamically linked program run where there is nothing else.
func TestProgramRuns(t *testing.T) {
	testenv.Need(t, testenv.Root) // chroot
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	p, err := FindProgram(t.Context(), bash)
	if err != nil || p.Loader == "" || !slices.ContainsFunc(p.Libraries, func(l Library) bool { return strings.HasPrefix(l.Name, "libc.") }) {
		t.Fatalf("FindProgram(%s) = %+v, %v, want a loader and the C library", bash, p, err)
	}
	files, err := p.Files()
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

func TestProgramKinds(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := FindProgram(t.Context(), script); !errors.Is(err, ErrNoProgram) {
		t.Errorf("a script: %v, want ErrNoProgram", err)
	}
	if _, err := FindProgram(t.Context(), script+"s"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want ErrNotExist", err)
	}
}

func TestStaticProgram(t *testing.T) {
	testenv.Need(t, testenv.Busybox)
	p, err := FindProgram(t.Context(), hostBusybox())
	if err != nil || p.Loader != "" || len(p.Libraries) != 0 {
		t.Fatalf("%+v, %v, want nothing but the program", p, err)
	}
	if files, err := p.Files(); err != nil || len(files) != 1 {
		t.Errorf("%d files, %v, want 1", len(files), err)
	}
	applets, err := Applets(t.Context())
	if err != nil || !slices.Contains(applets, "/bin/sh") || !slices.Contains(applets, "/bin/busybox") || slices.Contains(applets, "/sbin/init") {
		t.Errorf("applets %q, %v, want a shell, and no init", applets, err)
	}
}

func TestParseLibraries(t *testing.T) {
	libraries, err := parseLibraries([]byte("\tlinux-vdso.so.1 (0x00007f)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n" +
		"\t/lib64/ld.so => /usr/lib64/ld.so (0x00007f)\n\t/lib64/ld.so (0x00007f)\n"))
	if err != nil || len(libraries) != 1 || libraries[0] != (Library{"libz.so.1", "/lib/libz.so.1"}) {
		t.Errorf("parseLibraries = %v, %v, want libz.so.1 alone", libraries, err)
	}
	if libraries, err := parseLibraries([]byte("\tlibz.so.1 => not found\n")); err == nil {
		t.Errorf("a library that is not found: %v", libraries)
	}
}

func FuzzParseLibraries(f *testing.F) {
	f.Add([]byte("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f25)\n"))
	f.Add([]byte("\tlibz.so.1 => not found\n"))
	f.Fuzz(func(t *testing.T, list []byte) {
		libraries, err := parseLibraries(list)
		for _, l := range libraries {
			if err != nil || !filepath.IsAbs(l.Path) || filepath.IsAbs(l.Name) {
				t.Errorf("%q gives %+v, %v", list, l, err)
			}
		}
	})
}
