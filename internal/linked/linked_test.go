package linked

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), script); !errors.Is(err, ErrNoProgram) {
		t.Errorf("a script: %v, want ErrNoProgram", err)
	}
	if _, err := Find(t.Context(), script+"s"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want ErrNotExist", err)
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
