package box_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tandem/container/image"
)

// importRoot makes an image of the bench's root file system.
func (b *bench) importRoot(name string) {
	b.t.Helper()
	store, err := b.home.Images()
	b.check(err)
	pack := b.command("version")
	pack.Path, pack.Args = "/bin/tar", []string{"tar", "c", "-C", b.root, "."}
	got := b.finish(pack)
	if got.status != 0 {
		b.t.Fatalf("tar: %+v", got)
	}
	_, err = store.Import(b.t.Context(), strings.NewReader(got.stdout), image.ImportOptions{Name: name, Config: ocispec.ImageConfig{Cmd: []string{"sh"}}})
	b.check(err)
}

// TestCopy copies into and out of a container that runs, and one that has ended.
func TestCopy(t *testing.T) {
	b := newBench(t)
	b.importRoot("copy:1")
	volume, here := t.TempDir(), t.TempDir()
	write := func(name, text string) { b.check(os.WriteFile(filepath.Join(here, name), []byte(text), 0o640)) }
	read := func(name, want string) {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(here, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
	b.must("run", "-d", "--net", "none", "--name", "cc", "-v", volume+":/vol", "--tmpfs", "/mem", "--read-only", "-v", here+":/here:ro", "copy:1",
		"sh", "-c", "echo in memory > /mem/f; echo on volume > /vol/f; echo up; exec sleep 1000")
	b.await("cc", "up")
	b.must("cp", "cc:/mem/f", here)
	b.must("cp", "cc:vol/f", here+"/v")
	read("f", "in memory\n")
	read("v", "on volume\n")
	write("new", "mine")
	b.must("cp", here+"/new", "cc:/mem/")
	if got := b.must("exec", "cc", "sh", "-c", "cat /mem/new; stat -c %u:%g:%a /mem/new"); got != "mine0:0:640" {
		t.Errorf("in the container: %q", got)
	}
	if got := b.tandem("cp", here+"/new", "cc:/here/x"); got.status != 125 || !strings.Contains(got.stderr, "read-only") {
		t.Errorf("to what is read-only: %+v", got)
	}
	// Its /etc/hosts is a mount, which nothing can take the place of: it is written to.
	b.must("rm", "-f", "cc")

	b.must("run", "-d", "--net", "none", "--name", "cc", "-v", volume+":/vol", "copy:1", "sh", "-c", "mkdir /made; echo kept > /made/f; ln -s /made /l; exec sleep 1000")
	for b.tandem("exec", "cc", "ls", "/l").status != 0 {
	}
	b.must("cp", here+"/new", "cc:/etc/hosts")
	if got := b.must("exec", "cc", "cat", "/etc/hosts"); got != "mine" {
		t.Errorf("/etc/hosts: %q", got)
	}
	b.must("pause", "cc")
	b.must("cp", "cc:/l/f", here+"/paused")
	read("paused", "kept\n")
	b.must("unpause", "cc")
	b.must("stop", "-t", "0", "cc")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	b.check(err)
	b.must("cp", "cc:/l/f", here+"/stopped")
	read("stopped", "kept\n")
	b.must("cp", "-L", "cc:/l", here+"/tree")
	read("tree/f", "kept\n")
	b.must("cp", "cc:/bin/busybox", here+"/busybox") // of the image's layer
	b.must("cp", here+"/new", "cc:/l/late")
	got := b.tandem("cp", "cc:/made", "-")
	pipe := b.command("cp", "-", "cc:/tmp")
	pipe.Stdin = strings.NewReader(got.stdout)
	if in := b.finish(pipe); in.status != 0 {
		t.Errorf("cp -: %+v", in)
	}
	b.must("cp", "cc:/tmp/made/late", here+"/back")
	read("back", "mine")
	if now, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !bytes.Equal(now, mounts) {
		t.Errorf("a copy has left a mount: %s, %v", now, err)
	}
	for _, bad := range []struct{ from, to, want string }{
		{"cc:/vol/f", here, volume},
		{here + "/new", "cc:/vol/x", volume},
		{"cc:/nothing", here, "no such file"},
		{"cc:/made", here + "/new", "onto a file"},
		{"cc:/made", "cc:/x", "in between"},
		{here, here + "/x", "CONTAINER:PATH"},
		{"nobody:/x", here, "nobody"},
		{here + "/new", "cc:/no/where", "must be there"},
		{"cc:", here, "empty"},
	} {
		if got := b.tandem("cp", bad.from, bad.to); got.status != 125 || !strings.Contains(got.stderr, bad.want) {
			t.Errorf("cp %s %s: %+v, want %q", bad.from, bad.to, got, bad.want)
		}
	}
	b.must("rm", "cc")
	b.empty()
}

// TestCopyHostile has the container lay what traps it can.
func TestCopyHostile(t *testing.T) {
	b := newBench(t)
	here := t.TempDir()
	secret := filepath.Join(here, "secret")
	b.check(os.WriteFile(secret, []byte("host's"), 0o600))
	victim := t.TempDir() // no business of the container's
	b.detach([]string{"--name", "bad", "-v", here + ":/shared"}, "sh", "-c", `
		ln -s /proc/1/root /root1; ln -s /proc/self/root /selfroot; ln -s /proc/self/cwd /cwd
		ln -s `+secret+` /abs; ln -s ../../../../../../../../..`+secret+` /up; mkfifo /fifo; mknod /disk b 7 0
		mkdir /lib /tree; echo poison > /lib/libnss_files.so.2
		ln -s /etc /tree/a; echo x > /tree/b; ln -s /shared /tree/c
		echo up; mkdir /shared/to
		while :; do ln -s `+victim+` /shared/to/tree; rm /shared/to/tree; mkdir /shared/to/tree; rm -r /shared/to/tree; done`)
	b.await("bad", "up")
	out := filepath.Join(t.TempDir(), "out")
	for _, path := range []string{"/root1" + secret, "/selfroot" + secret, "/cwd" + secret, "/abs", "/up", "/proc/self/fd/0", "/proc/1/root/" + secret} {
		if got := b.tandem("cp", "-L", "bad:"+path, out); got.status != 125 {
			t.Errorf("cp -L %s: %+v", path, got)
		}
		if _, err := os.Lstat(out); err == nil {
			t.Errorf("%s came out of the container", path)
		}
		b.check(os.RemoveAll(out))
	}
	b.must("cp", "bad:/fifo", out) // is not read: it would never end
	b.check(os.Remove(out))
	if got := b.tandem("cp", "bad:/disk", out); got.status != 0 || !strings.Contains(got.stderr, "device") {
		t.Errorf("a device: %+v", got)
	}
	if got := b.tandem("cp", "bad:/proc", out); got.status != 0 || !strings.Contains(got.stderr, "left out") {
		t.Errorf("/proc: %+v", got)
	}
	b.must("cp", "bad:/tree", out)
	if to, err := os.Readlink(out + "/a"); err != nil || to != "/etc" {
		t.Errorf("a link: %q, %v", to, err)
	}
	if got := b.tandem("cp", "bad:/tree/.", out); got.status != 0 {
		t.Errorf("once more: %+v", got)
	}
	// Into a folder that the container has too: it puts a link in the place of what is being made in there.
	for range 30 {
		_ = b.tandem("cp", "bad:/tree", here+"/to") // it may fail, or not
	}
	if entries, err := os.ReadDir(victim); err != nil || len(entries) != 0 {
		t.Errorf("made on the host: %v, %v", entries, err)
	}
	b.must("rm", "-f", "bad")
	b.empty()
}

// TestCopyInterrupted ends a copy of which the other end never comes.
func TestCopyInterrupted(t *testing.T) {
	b := newBench(t)
	b.detach([]string{"--name", "waits"}, "sleep", "1000")
	cmd := b.command("cp", "-", "waits:/tmp")
	in, err := cmd.StdinPipe()
	b.check(err)
	b.check(cmd.Start())
	// It reads when it has taken 64 KiB, which is all that a pipe holds.
	_, err = in.Write(make([]byte, 512))
	b.check(err)
	_, err = io.CopyN(in, zeros{}, 1<<17)
	b.check(err)
	b.check(cmd.Process.Signal(unix.SIGINT))
	_ = cmd.Wait() // the status is looked at
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("status %d, want 130", got)
	}
	in.Close()
	b.must("rm", "-f", "waits")
	b.empty()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
