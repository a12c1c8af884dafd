package box

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// newLogged is a box that has ended, with a log.
func newLogged(t *testing.T) (*Record, *Log) {
	t.Helper()
	dir := t.TempDir()
	r := &Record{ID: newID(), home: &Home{Run: filepath.Join(dir, "run"), Data: filepath.Join(dir, "data")}}
	r.Options.Detach = true
	if err := os.MkdirAll(r.data(""), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(r.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return r, l
}

// TestLogReaderIsSlow has a log be begun anew twice while its reader is busy with the first line: as much as is kept he sees.
func TestLogReaderIsSlow(t *testing.T) {
	r, l := newLogged(t)
	count, padding := 0, strings.Repeat("x", maxEntry)
	write := func() {
		l.put(Entry{Text: fmt.Sprintf("%d %s\n", count, padding), Stream: "stdout", Time: time.Now()})
		count++
	}
	write()
	seen := 0
	err := r.Logs(t.Context(), LogOptions{Last: -1, Follow: true}, func(e Entry) error {
		if want := fmt.Sprintf("%d ", seen); !strings.HasPrefix(e.Text, want) {
			return fmt.Errorf("entry %.8q, want %s", e.Text, want)
		}
		if seen++; seen == 1 {
			for range 2*maxLog/maxEntry + 10 {
				write()
			}
		}
		return nil
	})
	if err != nil || seen != count {
		t.Errorf("saw %d of %d entries, %v", seen, count, err)
	}
}

// TestLogIsRemoved has the log be removed while it is read: what was read from it counts.
func TestLogIsRemoved(t *testing.T) {
	r, l := newLogged(t)
	for i := range 3 {
		l.put(Entry{Text: fmt.Sprintln(i), Stream: "stdout"})
	}
	var out bytes.Buffer
	err := r.Logs(t.Context(), LogOptions{Last: -1, Follow: true}, func(e Entry) error {
		out.WriteString(e.Text)
		return os.RemoveAll(r.data(""))
	})
	if err != nil || out.String() != "0\n1\n2\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestLogOnAFullDisk has a disk be full in the middle of an entry: of those that follow when there is room again none is lost.
func TestLogOnAFullDisk(t *testing.T) {
	testenv.Need(t, testenv.Root)
	disk := smallDisk(t)
	ballast := disk + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(disk + "/log")
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) { l.put(Entry{Text: text + "\n", Stream: "stdout"}) }
	long := strings.Repeat("x", 3000)
	for l.err == nil {
		write(long)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	write("there is room")
	// A keeper that was killed over an entry leaves a part of it too.
	if _, err := l.file.WriteString(`{"log":"half`); err != nil {
		t.Fatal(err)
	}
	if l, err = OpenLog(disk + "/log"); err != nil {
		t.Fatal(err)
	}
	write("and again")
	text, err := os.ReadFile(disk + "/log")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	if _, err := readEntries(bytes.NewReader(text), func(e Entry) error {
		if e.Text != long+"\n" {
			all = append(all, e.Text)
		}
		return nil
	}); err != nil || strings.Join(all, "") != "there is room\nand again\n" {
		t.Errorf("%q, %v", all, err)
	}
}

// smallDisk is a file system of 64 KiB that is mounted nowhere, and there for as long as the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "64k"); err != nil {
		t.Fatal(err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return byDescriptor(fd)
}
