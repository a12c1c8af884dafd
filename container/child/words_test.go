package child

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What a call has left in memory decides where the program goes on, and can be an argument.
func TestWords(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o751); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	for _, test := range []struct {
		path string
		want int
	}{{dir, 1}, {"/dev/null", 2}} {
		p := New()
		no := p.Label()
		_, fd := p.Openat2(AtCwd, test.path, unix.OpenHow{Flags: unix.O_PATH}, "")
		stat := p.Fstat(fd, "", "")
		p.Unless(stat.Mode, unix.S_IFMT, unix.S_IFDIR, no)
		p.Fchmodat(AtCwd, other, p.Load(stat.Mode, 0o7777), "")
		p.Exit(1)
		p.Bind(no)
		p.Expect(stat.Device, ^uint64(0), unix.Mkdev(1, 3), unix.ENODEV, "")
		p.Exit(2)
		if status, err := run(t, p, Options{}); status.ExitStatus() != test.want {
			t.Errorf("%s: status %d, %v, want %d", test.path, status.ExitStatus(), err, test.want)
		}
	}
	if info, err := os.Stat(other); err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("mode %v, %v, want that of the other folder", info.Mode(), err)
	}
}

func TestResult(t *testing.T) {
	empty, full := t.TempDir(), t.TempDir()
	if err := os.WriteFile(full+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{empty: 1, full: 2} {
		p := New()
		no := p.Label()
		_, fd := p.Openat2(AtCwd, path, unix.OpenHow{Flags: unix.O_DIRECTORY}, "")
		_, size := p.Getdents(fd, path, "")
		p.Unless(p.Result("size", size), ^uint64(0), 48, no) // "." and "..", 24 bytes each
		p.Exit(1)
		p.Bind(no)
		p.Exit(2)
		if status, err := run(t, p, Options{}); status.ExitStatus() != want {
			t.Errorf("%s: status %d, %v, want %d", path, status.ExitStatus(), err, want)
		}
	}
}

// A file of the parent's is opened when the program starts, and not before.
func TestBeforehand(t *testing.T) {
	opened := 0
	p := New()
	fd := p.Beforehand("open", "/dev/null", "", func() (*os.File, error) {
		opened++
		return os.Open("/dev/null")
	})
	p.ExpectDevice(fd, "", unix.Mkdev(1, 3), unix.ENODEV, "")
	p.Fail("the end", unix.EXDEV, "")
	p.Exit(0)
	if opened != 0 {
		t.Error("opened before the program was started")
	}
	if got := p.Phases()[0].Steps[1].String(); got != "open /dev/null  ->="+fd.String() {
		t.Errorf("printed %q", got)
	}
	_, err := run(t, p, Options{})
	if err == nil || err == io.EOF || err.Error() != "leave the runtime behind: fail the end: invalid cross-device link (step 6 of 7)" {
		t.Errorf("error %v", err)
	}
}
