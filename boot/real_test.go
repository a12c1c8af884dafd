package boot

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/internal/testenv"
)

// The packages whose kernels testenv.GuestKernel and testenv.LabKernel stand for.
const (
	guestPackage = "linux-image-cloud-amd64"
	labPackage   = "linux-image-amd64"
)

// storedKernel is the path of the package's kernel in the store. (Package store can't be asked: it imports this one.)
func storedKernel(t testing.TB, pkg string) string {
	t.Helper()
	cache := os.Getenv("TANDEM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "tandem")
	}
	records, err := filepath.Glob(filepath.Join(cache, "kernels", "[^.]*", "kernel.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range records {
		var record struct{ Package string }
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &record)
		}
		if err != nil {
			t.Fatal(err)
		}
		if record.Package == pkg {
			return filepath.Join(filepath.Dir(path), "vmlinuz")
		}
	}
	t.Fatalf("no %s in %s", pkg, cache)
	return ""
}

// TestDistributionKernel reads a distribution's kernel, and holds what it unpacks to against debug/elf, which reads it
// in another way.
func TestDistributionKernel(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel)
	k := openPath(t, storedKernel(t, guestPackage))
	if k.Format != BzImage || k.Version == "" || k.Setup.Version < 0x20d || !k.Setup.Relocatable {
		t.Errorf("%v, version %q, setup header %+v", k.Format, k.Version, k.Setup)
	}
	checkUnpacked(t, unpack(t, k, ""))
}

// TestLabKernel has the other compression that Debian uses.
func TestLabKernel(t *testing.T) {
	testenv.Need(t, testenv.LabKernel)
	k := openPath(t, storedKernel(t, labPackage))
	if c, err := k.Compression(); c != "xz" || err != nil {
		t.Errorf("compression %s, %v, want xz", c, err)
	}
	checkUnpacked(t, unpack(t, k, ""))
}

func checkUnpacked(t *testing.T, u *Kernel) {
	t.Helper()
	if !u.Image.Linux || u.Image.PVHEntry == 0 || !u.Image.holds(u.Image.PVHEntry) || !u.Image.holds(u.Image.Entry) {
		t.Errorf("image %+v", u.Image)
	}
	if !u.Image.mappable() {
		t.Errorf("segments %+v can't be mapped", u.Image.Loads)
	}
	file, err := elf.NewFile(u.file)
	if err != nil {
		t.Fatal(err)
	}
	if notes := file.Section(".notes"); notes == nil {
		t.Error("no .notes")
	} else if b, err := notes.Data(); err != nil || !bytes.Equal(b, u.Image.notes) {
		t.Errorf("the notes differ, or %v", err)
	}
	var loads []Load
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD {
			loads = append(loads, Load{p.Paddr, int64(p.Off), p.Filesz, p.Memsz})
		}
	}
	if len(loads) != len(u.Image.Loads) {
		t.Fatalf("%d segments, want %d", len(u.Image.Loads), len(loads))
	}
	for n := range loads {
		if loads[n] != u.Image.Loads[n] {
			t.Errorf("segment %d is %+v, want %+v", n, u.Image.Loads[n], loads[n])
		}
	}
	text := file.Section(".text")
	start := make([]byte, 64)
	if _, err := text.ReadAt(start, 0); err != nil {
		t.Fatal(err)
	}
	memory := make(flatMemory, 256*mib)
	s := spec(t, u)
	s.Memory = ram(256 * mib)
	p := plan(t, s)
	checkPlan(t, p, s)
	load(t, p, memory)
	if got := memory[p.Entry.RIP:][:len(start)]; !bytes.Equal(got, start) {
		t.Errorf("at the entry there is % x, .text starts with % x", got, start)
	}
}

// TestPlanningIsQuick holds the start's budget: a kernel in the cache is opened, found and planned without reading it.
// The bound is far above what it takes, and far below what one read of the kernel does.
func TestPlanningIsQuick(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel)
	path, dir := storedKernel(t, guestPackage), t.TempDir()
	unpack(t, openPath(t, path), dir)
	before := readBytes(t)
	start := time.Now()
	k, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s := spec(t, unpack(t, k, dir))
	s.Memory = ram(256 * mib)
	plan(t, s)
	took, read := time.Since(start), readBytes(t)-before
	t.Logf("%v, %d bytes read", took, read)
	if read > 64<<10 {
		t.Errorf("%d bytes read to plan a cached kernel", read)
	}
}

// readBytes is how much this process has read by system calls.
func readBytes(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "rchar: "); ok {
			var n int64
			if err := json.Unmarshal([]byte(value), &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no rchar in /proc/self/io")
	return 0
}

func BenchmarkPlanCached(b *testing.B) {
	testenv.Need(b, testenv.GuestKernel)
	path, dir := storedKernel(b, guestPackage), b.TempDir()
	unpack(b, openPath(b, path), dir).Close()
	for b.Loop() {
		k, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		u, err := Unpack(k, dir)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := NewPlan(Spec{Kernel: u, Memory: ram(256 * mib)}); err != nil {
			b.Fatal(err)
		}
		u.Close()
		k.Close()
	}
}

func BenchmarkDecompress(b *testing.B) {
	testenv.Need(b, testenv.GuestKernel)
	k := openPath(b, storedKernel(b, guestPackage))
	for b.Loop() {
		if err := k.Decompress(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
