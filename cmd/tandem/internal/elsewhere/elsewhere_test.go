package elsewhere

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/vhost/user/frontend"
)

// helperVariable has this test's program execute its arguments for which a folder is read-only, as tandem's hidden verb
// does.
const helperVariable = "TANDEM_TEST_READ_ONLY"

func TestMain(m *testing.M) {
	if folder := os.Getenv(helperVariable); folder != "" {
		runtime.LockOSThread()
		os.Unsetenv(helperVariable)
		os.Stderr.WriteString(MountAndExec(folder, os.Args[1:]).Error())
		os.Exit(1)
	}
	testenv.Main(m)
}

func TestParseDevice(t *testing.T) {
	for text, want := range map[string]Device{
		"blk,socket=/a":                {Kind: Blk, Socket: "/a"},
		"net,queues=4,socket=/a/../b":  {Kind: Net, Socket: "/b", Queues: 4},
		"fs,socket=/a,tag=x":           {Kind: FS, Socket: "/a", Tag: "x"},
		"fs,socket=/a,tag=x,queues=16": {Kind: FS, Socket: "/a", Tag: "x", Queues: 16},
	} {
		if got, err := ParseDevice(text); err != nil || got != want {
			t.Errorf("ParseDevice(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "blk", "gpu,socket=/a", "blk,socket=", "blk,socket=/a,tag=x", "fs,socket=/a", "fs,socket=/a,tag=", "fs,socket=/a,tag=a/b",
		"fs,socket=/a,tag=..", "fs,socket=/a,tag=" + strings.Repeat("x", 37), "blk,socket=/a,queues=0", "blk,socket=/a,queues=x",
		"blk,socket=/a,queues=257", "blk,socket=/a,fast",
	} {
		if got, err := ParseDevice(text); err == nil {
			t.Errorf("ParseDevice(%q) = %+v", text, got)
		}
	}
}

func TestParseShare(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Share{
		dir + ":a":    {Source: dir, Tag: "a"},
		dir + ":a:rw": {Source: dir, Tag: "a"},
		dir + ":a:ro": {Source: dir, Tag: "a", ReadOnly: true},
	} {
		if got, err := ParseShare(text); err != nil || got != want {
			t.Errorf("ParseShare(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", dir, ":a", dir + ":", dir + "::ro", dir + ":a:b", dir + ":..", file + ":a", dir + "/none:a"} {
		if got, err := ParseShare(text); err == nil {
			t.Errorf("ParseShare(%q) = %+v", text, got)
		}
	}
	s := Share{Tag: "a", ReadOnly: true}
	if m := s.Mount(); m.Target != "/mnt/a" || m.Options != "ro" || m.Source != "a" {
		t.Errorf("Mount = %+v", m)
	}
}

// TestReadOnly executes a shell for which a folder is read-only, with what is mounted in it, and this process's is not.
func TestReadOnly(t *testing.T) {
	testenv.Need(t, testenv.MountNS)
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(below, unix.MNT_DETACH)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := "cd " + dir + "; echo x > a; echo x > below/a; umount below && echo x > below/b; echo done"
	cmd := exec.Command(self, "/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), helperVariable+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("done")) || bytes.Count(out, []byte("Read-only")) < 2 {
		t.Errorf("%v: %s", err, out)
	}
	for _, name := range []string{"a", "below/a", "below/b"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(below, "mine"), nil, 0o600); err != nil {
		t.Errorf("the folder is read-only for this process too: %v", err)
	}
}

// TestServe starts virtiofsd, speaks to it as a machine would, and ends it.
func TestServe(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Virtiofsd)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Serve(self, Share{Source: dir, Tag: "files"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := frontend.Open(t.Context(), l.Device.spec(func(err error) { t.Log(err) }))
	if err := l.Why(err); err != nil {
		t.Fatal(err)
	}
	config := make([]byte, tagSize+4)
	d.ReadConfig(0, config)
	if !bytes.HasPrefix(config, []byte("files\x00")) || config[tagSize] != 1 {
		t.Errorf("configuration space %q", config)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if err := l.cmd.Process.Signal(unix.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("virtiofsd runs: %v", err)
	}
}
