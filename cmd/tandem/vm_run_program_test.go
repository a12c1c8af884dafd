package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tandem/boot/initramfs"
	"tandem/internal/testenv"
)

func TestHostProgram(t *testing.T) {
	testenv.Need(t, testenv.Busybox)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	program, err := os.ReadFile(bash)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"mine": program, "script": []byte("#!/bin/sh\n")} {
		if err := os.WriteFile(filepath.Join(elsewhere, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", elsewhere+":"+os.Getenv("PATH"))
	for _, test := range []struct {
		command string
		own     []initramfs.File
		want    string // a file of those that go into the guest; "" for none
	}{
		{command: "bash", want: bash},
		{command: bash, want: bash},
		{command: "bash", own: []initramfs.File{{Name: "/usr/local/bin/bash"}}},
		{command: "bash", own: []initramfs.File{{Name: "/opt/bash"}}, want: bash},
		{command: bash, own: []initramfs.File{{Name: bash}}},
		{command: "ls"},      // busybox has it
		{command: "/bin/ls"}, // here too
		{command: "mine", want: "/usr/bin/mine"},
		{command: filepath.Join(elsewhere, "mine")},
		{command: "script"},
		{command: "no-such-program"},
		{command: "/usr/bin/no-such-program"},
	} {
		files, err := hostProgram(t.Context(), test.command, test.own)
		found := slices.ContainsFunc(files, func(f initramfs.File) bool { return f.Name == test.want })
		if err != nil || found != (test.want != "") || test.want == "" && len(files) > 0 {
			t.Errorf("%s: %d files, %v, want %q", test.command, len(files), err, test.want)
		}
	}
}
