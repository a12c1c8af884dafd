package boot

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// contents reads all of a kernel's file.
func contents(t *testing.T, k *Kernel) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(k.file, 0, k.size))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inode tells files apart.
func inode(t *testing.T, k *Kernel) uint64 {
	t.Helper()
	id, err := identify(k.file)
	if err != nil {
		t.Fatal(err)
	}
	return id.Inode
}

// changeRecord rewrites the only record in dir.
func changeRecord(t *testing.T, dir string, change func(*record)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+recordSuffix))
	if err != nil || len(paths) != 1 {
		t.Fatalf("records %v, %v, want one", paths, err)
	}
	rec, err := loadRecord(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	change(&rec)
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnpackIsTheKernel(t *testing.T) {
	want := vmlinux().bytes()
	for _, dir := range []string{"", t.TempDir()} {
		u := unpack(t, open(t, bzImage()), dir)
		if !bytes.Equal(contents(t, u), want) {
			t.Errorf("in folder %q: %d bytes that differ from the %d in the payload", dir, u.size, len(want))
		}
		if u.Format != ELF || u.Setup == nil || u.Version != testVersion || u.Image.Entry != 0x100_0000 {
			t.Errorf("in folder %q: unpacked kernel %+v", dir, u)
		}
		again := unpack(t, u, dir)
		if inode(t, again) != inode(t, u) {
			t.Errorf("in folder %q: unpacking the unpacked made another file", dir)
		}
	}
}

// TestUnpackedIsFixed checks the promise that the pages may be mapped.
func TestUnpackedIsFixed(t *testing.T) {
	u := unpack(t, open(t, bzImage()), "")
	if _, err := unix.Pwrite(int(u.file.Fd()), []byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("writing to the kernel in memory: %v, want EPERM", err)
	}
	if err := unix.Ftruncate(int(u.file.Fd()), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncating the kernel in memory: %v, want EPERM", err)
	}
	u = unpack(t, open(t, bzImage()), t.TempDir())
	if info, err := u.file.Stat(); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("the kernel in the cache has mode %v, %v, want 0444", info.Mode(), err)
	}
}

// TestUnpackReuses checks that a settled record is believed without a look at the contents: its digest is wrong, which
// would show.
func TestUnpackReuses(t *testing.T) {
	path, dir := write(t, bzImage()), t.TempDir()
	first := unpack(t, openPath(t, path), dir)
	changeRecord(t, dir, func(r *record) {
		r.Checked = r.Checked.Add(time.Hour)
		r.Digest = strings.Repeat("0", 64)
	})
	if second := unpack(t, openPath(t, path), dir); inode(t, second) != inode(t, first) {
		t.Error("unpacked again, although nothing had changed")
	}
}

// TestUnpackDistrustsYoungFile has a record made within a clock's tick of the kernel's last change: the times of
// another change after it could be the same.
func TestUnpackDistrustsYoungFile(t *testing.T) {
	path, dir := write(t, bzImage()), t.TempDir()
	first := unpack(t, openPath(t, path), dir)
	changeRecord(t, dir, func(r *record) {
		r.Checked = time.Unix(0, r.KernelID.Change).Add(settled / 2)
		r.Digest = strings.Repeat("0", 64)
	})
	if second := unpack(t, openPath(t, path), dir); inode(t, second) == inode(t, first) {
		t.Error("the record was believed, although it was made too soon after the kernel")
	}
}

// TestUnpackNoticesChange replaces the kernel, in place and by rename.
func TestUnpackNoticesChange(t *testing.T) {
	other := vmlinux()
	other.loads[0].data[0] ^= 0xff
	third := vmlinux()
	third.loads[0].data[1] ^= 0xff
	path, dir := write(t, bzImage()), t.TempDir()
	unpack(t, openPath(t, path), dir)

	inPlace := bzFile{payload: gzipped(other.bytes())}.bytes()
	if err := os.WriteFile(path, inPlace, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, unpack(t, openPath(t, path), dir)); !bytes.Equal(got, other.bytes()) {
		t.Error("the old kernel came after the file had been written to")
	}

	if err := os.Rename(write(t, bzFile{payload: gzipped(third.bytes())}.bytes()), path); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, unpack(t, openPath(t, path), dir)); !bytes.Equal(got, third.bytes()) {
		t.Error("the old kernel came after another had got its name")
	}
}

// TestUnpackRenewsRecord touches the kernel: the record can't tell, the contents are the same, the next time it can.
func TestUnpackRenewsRecord(t *testing.T) {
	path, dir := write(t, bzImage()), t.TempDir()
	first := unpack(t, openPath(t, path), dir)
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	k := openPath(t, path)
	if second := unpack(t, k, dir); inode(t, second) != inode(t, first) {
		t.Error("unpacked again, although the contents had not changed")
	}
	id, err := identify(k.file)
	if err != nil {
		t.Fatal(err)
	}
	changeRecord(t, dir, func(r *record) {
		if r.KernelID != id {
			t.Errorf("the record has the file as %+v, it is %+v", r.KernelID, id)
		}
	})
}

// TestUnpackHeals damages the cache in every way.
func TestUnpackHeals(t *testing.T) {
	want := vmlinux().bytes()
	elfIn := func(dir string) string {
		paths, err := filepath.Glob(filepath.Join(dir, "*"+elfSuffix))
		if err != nil || len(paths) != 1 {
			t.Fatalf("unpacked kernels %v, %v, want one", paths, err)
		}
		return paths[0]
	}
	replace := func(path string, b []byte) {
		if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(dir string){
		"kernel gone":      func(dir string) { os.Remove(elfIn(dir)) },
		"kernel changed":   func(dir string) { replace(elfIn(dir), append([]byte{0}, want[1:]...)) },
		"kernel cut short": func(dir string) { replace(elfIn(dir), want[:len(want)/2]) },
		"kernel restored":  func(dir string) { replace(elfIn(dir), want) },
		"record empty": func(dir string) {
			changeRecord(t, dir, func(r *record) { *r = record{ELF: r.ELF} })
		},
		"record of another": func(dir string) { changeRecord(t, dir, func(r *record) { r.Kernel += "x" }) },
		"record leads out": func(dir string) {
			changeRecord(t, dir, func(r *record) { r.ELF = "../../../../etc/passwd" })
		},
		"record is no JSON": func(dir string) {
			paths, _ := filepath.Glob(filepath.Join(dir, "*"+recordSuffix))
			if err := os.WriteFile(paths[0], []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := write(t, bzImage()), t.TempDir()
			unpack(t, openPath(t, path), dir)
			damage(dir)
			if got := contents(t, unpack(t, openPath(t, path), dir)); !bytes.Equal(got, want) {
				t.Errorf("%d bytes that differ from the kernel's %d", len(got), len(want))
			}
		})
	}
}

// TestUnpackTogether is for the race detector, and for what the processes would do to each other's files.
func TestUnpackTogether(t *testing.T) {
	path, dir, want := write(t, bzImage()), t.TempDir(), vmlinux().bytes()
	k := openPath(t, path)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			u, err := Unpack(k, dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer u.Close()
			got := make([]byte, len(want))
			if _, err := u.file.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the kernel unpacked at the same time as others is another, or %v", err)
			}
		})
	}
	wg.Wait()
	left, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUnpackFailsCleanly(t *testing.T) {
	dir := t.TempDir()
	broken := gzipped(vmlinux().bytes())
	broken[len(broken)/2] ^= 1
	notELF := gzipped(bzImage())
	for name, payload := range map[string][]byte{"broken": broken, "a bzImage in a bzImage": notELF} {
		for _, dir := range []string{dir, ""} {
			if _, err := Unpack(open(t, bzFile{payload: payload}.bytes()), dir); err == nil {
				t.Errorf("%s in folder %q: no error", name, dir)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	file := write(t, nil)
	if _, err := Unpack(open(t, bzImage()), file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("into a file: error %v, want ENOTDIR", err)
	}
}

func TestSweep(t *testing.T) {
	kept, gone, dir := write(t, bzImage()), write(t, bzImage()), t.TempDir()
	other := vmlinux()
	other.entry++
	if err := os.WriteFile(gone, bzFile{payload: gzipped(other.bytes())}.bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	keptID := inode(t, unpack(t, openPath(t, kept), dir))
	unpack(t, openPath(t, gone), dir)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{tempPrefix + "1", tempPrefix + "2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * abandoned)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != tempPrefix+"2" {
			if err := os.Chtimes(filepath.Join(dir, e.Name()), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}

	other.entry++
	unpack(t, open(t, bzFile{payload: gzipped(other.bytes())}.bytes()), dir) // sweeps, as it is no record's kernel

	count := func(pattern string) int {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(paths)
	}
	if n := count("*" + recordSuffix); n != 2 {
		t.Errorf("%d records, want 2: the kept one's and the new one's", n)
	}
	if n := count("*" + elfSuffix); n != 2 {
		t.Errorf("%d unpacked kernels, want 2", n)
	}
	if n := count(tempPrefix + "*"); n != 1 {
		t.Errorf("%d temporary files, want the young one", n)
	}
	if got := inode(t, unpack(t, openPath(t, kept), dir)); got != keptID {
		t.Error("the kept kernel was unpacked again")
	}
}

// TestRelayout unpacks kernels whose segments can't be mapped from where they are, or that come with more than segments.
func TestRelayout(t *testing.T) {
	skewed := vmlinux()
	skewed.skew = 8
	fat := vmlinux()
	fat.loads = append(fat.loads, elfLoad{paddr: 0x200_0800, data: pattern(100)}, elfLoad{paddr: 0x300_0000, memsz: 0x1000})
	for name, made := range map[string]elfFile{"skewed": skewed, "fat": fat} {
		for _, packed := range []bool{true, false} {
			file := append(made.bytes(), pattern(100_000)...) // debug information
			want := open(t, file)
			kernel := want
			if packed {
				kernel = open(t, bzFile{payload: gzipped(file)}.bytes())
			}
			for _, dir := range []string{"", t.TempDir()} {
				got := unpack(t, kernel, dir)
				compareImages(t, name, got, want)
				if !got.Image.mappable() {
					t.Errorf("%s: segments %+v cannot be mapped", name, got.Image.Loads)
				}
			}
		}
	}
}

// compareImages wants two kernels to have the same entries, segments and segment contents.
func compareImages(t *testing.T, name string, got, want *Kernel) {
	t.Helper()
	g, w := got.Image, want.Image
	if g.Entry != w.Entry || g.PVHEntry != w.PVHEntry || g.Linux != w.Linux || len(g.Loads) != len(w.Loads) {
		t.Errorf("%s: image %+v, want %+v", name, g, w)
		return
	}
	for i := range g.Loads {
		a, b := g.Loads[i], w.Loads[i]
		if a.PhysAddr != b.PhysAddr || a.FileSize != b.FileSize || a.MemSize != b.MemSize {
			t.Errorf("%s: segment %+v, want %+v", name, a, b)
			continue
		}
		x, y := make([]byte, a.FileSize), make([]byte, b.FileSize)
		_, err1 := got.file.ReadAt(x, a.Offset)
		_, err2 := want.file.ReadAt(y, b.Offset)
		if err := errors.Join(err1, err2); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(x, y) {
			t.Errorf("%s: contents of segment %d differ, or %v", name, i, err)
		}
	}
}
