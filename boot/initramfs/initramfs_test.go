package initramfs

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot/cpio"
	"tandem/boot/kmod"
	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// program writes an ELF executable for machine m; with interp, one that needs a dynamic linker.
func program(t testing.TB, m elf.Machine, interp bool) string {
	t.Helper()
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(m), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	parts := []any{&head}
	if interp {
		head.Phoff, head.Phnum = 64, 1
		parts = append(parts, elf.Prog64{Type: uint32(elf.PT_INTERP)})
	}
	var b bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&b, binary.LittleEndian, p); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// modules writes a module tree for a kernel 1.2.3. Modules are no more than the first bytes of one: nobody looks
// further here.
func modules(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "1.2.3")
	for name, data := range map[string]string{
		"modules.dep":              "kernel/net/virtio-net.ko: kernel/virtio/virtio.ko\nkernel/virtio/virtio.ko:\nkernel/fs/over.ko: kernel/fs/gone.ko\nkernel/fs/other.ko:\n",
		"modules.alias":            "alias virtio:d1v* virtio_net\nalias fs-other other\n",
		"modules.softdep":          "softdep virtio_net post: other\n",
		"modules.builtin":          "kernel/fs/ext4/ext4.ko\n",
		"kernel/net/virtio-net.ko": "\x7fELF virtio-net",
		"kernel/virtio/virtio.ko":  "\x7fELF virtio",
		"kernel/fs/other.ko":       "\x7fELF other",
	} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// base is a spec that needs nothing of the host.
func base(t testing.TB) Base {
	t.Helper()
	return Base{
		Init: program(t, machine, false), Busybox: NoBusybox, ModulesDir: modules(t), Cache: filepath.Join(t.TempDir(), "cache"),
		Sets: []Set{{Required: []string{"virtio_net", "ext4"}, Optional: []string{"9p", "over"}}},
	}
}

func build(t testing.TB, b Base) *Archive {
	t.Helper()
	a, err := b.Build(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// list reads an archive into "name" -> "mode body".
func list(t testing.TB, r io.Reader) map[string]string {
	t.Helper()
	got := map[string]string{}
	c := cpio.NewReader(r)
	for {
		e, err := c.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name] = fmt.Sprintf("%o %s", e.Mode, body)
	}
}

func TestBuild(t *testing.T) {
	b := base(t)
	a := build(t, b)
	f, err := os.Open(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != a.Size || a.Size%cpio.PageSize != 0 {
		t.Errorf("archive of %d bytes, want whole pages (%v)", a.Size, err)
	}
	got := list(t, f)
	init, err := os.ReadFile(b.Init)
	if err != nil {
		t.Fatal(err)
	}
	const tree = "lib/modules/1.2.3/"
	for name, want := range map[string]string{
		".":                               "40755 ",
		"tmp":                             "41777 ",
		"dev/console":                     "20600 ",
		"init":                            "100755 " + string(init),
		"bin/tandem":                      "120777 /init",
		tree + "kernel/net/virtio-net.ko": "100644 \x7fELF virtio-net",
		tree + "modules.dep":              "100644 kernel/virtio/virtio.ko:\nkernel/net/virtio-net.ko: kernel/virtio/virtio.ko\nkernel/fs/other.ko:\n",
		tree + "modules.alias":            "100644 alias virtio:d1v* virtio_net\nalias fs_other other\n",
		tree + "modules.softdep":          "100644 softdep virtio_net post: other\n",
		tree + "modules.builtin":          "100644 kernel/fs/ext4/ext4.ko\n",
		"etc/tandem/modules": "100644 /" + tree + "kernel/virtio/virtio.ko\n/" + tree + "kernel/net/virtio-net.ko\n/" + tree +
			"kernel/fs/other.ko\n",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if a.Kernel != "1.2.3" || a.Busybox || !slices.Equal(a.Missing, []string{"9p", "over"}) || !slices.Equal(a.Builtin, []string{"ext4"}) {
		t.Errorf("described as %+v", a)
	}
	for names, want := range map[string]string{
		"virtio_net":          "/lib/modules/1.2.3/kernel/virtio/virtio.ko /lib/modules/1.2.3/kernel/net/virtio-net.ko /lib/modules/1.2.3/kernel/fs/other.ko",
		"ext4 9p over":        "",
		"":                    "",
		"9p virtio_net ext4 ": "/lib/modules/1.2.3/kernel/virtio/virtio.ko /lib/modules/1.2.3/kernel/net/virtio-net.ko /lib/modules/1.2.3/kernel/fs/other.ko",
	} {
		files, err := a.Load(strings.Fields(names)...)
		if err != nil || strings.Join(files, " ") != want {
			t.Errorf("Load(%s) = %q, %v; want %q", names, files, err, want)
		}
	}
	if _, err := a.Load("virtio"); !errors.Is(err, kmod.ErrNotFound) {
		t.Errorf("Load of a name that nobody asked for: %v", err)
	}
}

func TestBuildFromCache(t *testing.T) {
	b := base(t)
	a := build(t, b)
	before, err := os.Stat(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	again := build(t, b)
	after, err := os.Stat(again.Path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the same spec was built again (%v)", err)
	}
	if again.Size != a.Size || again.Digest != a.Digest || len(again.Modules) != len(a.Modules) || len(again.Names) != len(a.Names) {
		t.Errorf("from the cache: %+v, built: %+v", again, a)
	}

	later := time.Now().Add(time.Hour)
	digests := map[string]string{a.Digest: "as it was"}
	for _, c := range []struct {
		what   string
		change func()
	}{
		{"other sets", func() { b.Sets = []Set{{Required: []string{"virtio"}}} }},
		{"optional instead", func() { b.Sets = []Set{{Optional: []string{"virtio"}}} }},
		{"touched index", func() { must(t, os.Chtimes(filepath.Join(b.ModulesDir, "modules.dep"), later, later)) }},
		{"touched init", func() { must(t, os.Chtimes(b.Init, later, later)) }},
		{"longer init", func() {
			f, err := os.OpenFile(b.Init, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("x")
			must(t, errors.Join(err, f.Close(), os.Chtimes(b.Init, later, later)))
		}},
		{"replaced init of the same size and time", func() {
			data, err := os.ReadFile(b.Init)
			must(t, err)
			must(t, errors.Join(os.WriteFile(b.Init+"2", data, 0o755), os.Chtimes(b.Init+"2", later, later), os.Rename(b.Init+"2", b.Init)))
		}},
		{"no modules", func() { b.ModulesDir = "" }},
	} {
		c.change()
		a := build(t, b)
		if was, ok := digests[a.Digest]; ok {
			t.Errorf("%s has the digest of %s", c.what, was)
		}
		digests[a.Digest] = c.what
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A cache that somebody has cut down is filled again.
func TestDamagedCache(t *testing.T) {
	b := base(t)
	a := build(t, b)
	dir := filepath.Dir(a.Path)
	for what, damage := range map[string]func() error{
		"cut archive":     func() error { return os.Truncate(a.Path, 100) },
		"no archive":      func() error { return os.Remove(a.Path) },
		"no description":  func() error { return os.Remove(filepath.Join(dir, describing)) },
		"bad description": func() error { return os.WriteFile(filepath.Join(dir, describing), []byte("{"), 0o644) },
	} {
		must(t, damage())
		again, err := b.Build(context.Background())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if st, err := os.Stat(again.Path); err != nil || st.Size() != a.Size {
			t.Errorf("%s: built again: %v", what, err)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	b := base(t)
	dead := filepath.Join(b.Cache, tempPrefix+"dead")
	fresh := filepath.Join(b.Cache, tempPrefix+"fresh")
	must(t, errors.Join(os.MkdirAll(dead, 0o755), os.MkdirAll(fresh, 0o755)))
	long := time.Now().Add(-2 * staleAfter)
	must(t, os.Chtimes(dead, long, long))
	var first, last *Archive
	for i := range keep + 3 {
		b.Sets = []Set{{Optional: []string{fmt.Sprint("m", i)}}}
		last = build(t, b)
		if first == nil {
			first = last
		}
		// Whoever is used is kept, however old it is.
		b.Sets = []Set{{Optional: []string{"m0"}}}
		build(t, b)
		must(t, os.Chtimes(filepath.Dir(last.Path), long.Add(time.Duration(i)*time.Second), long.Add(time.Duration(i)*time.Second)))
		now := time.Now()
		must(t, os.Chtimes(filepath.Dir(first.Path), now, now))
	}
	for _, a := range []*Archive{first, last} {
		if _, err := os.Stat(a.Path); err != nil {
			t.Errorf("the first, in use, and the last should be there: %v", err)
		}
	}
	entries, err := os.ReadDir(b.Cache)
	if err != nil || len(entries) != keep+1 {
		t.Errorf("%d entries in the cache, want %d archives and one that is being made (%v)", len(entries), keep, err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a dead process left: %v", err)
	}
}

func TestBuildersMeet(t *testing.T) {
	b := base(t)
	const n = 4
	var (
		wg       sync.WaitGroup
		archives [n]*Archive
		errs     [n]error
	)
	for i := range n {
		wg.Go(func() { archives[i], errs[i] = b.Build(context.Background()) })
	}
	wg.Wait()
	for i := range n {
		if errs[i] != nil || archives[i].Path != archives[0].Path {
			t.Errorf("builder %d: %+v, %v", i, archives[i], errs[i])
		}
	}
	entries, err := os.ReadDir(b.Cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("cache has %v, %v; want one archive", entries, err)
	}
}

func TestBuildRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755))
	for _, c := range []struct {
		what   string
		change func(*Base)
		want   error
		says   string
	}{
		{"dynamic init", func(b *Base) { b.Init = program(t, machine, true) }, ErrDynamic, "CGO_ENABLED=0"},
		{"foreign init", func(b *Base) { b.Init = program(t, elf.EM_S390, false) }, ErrDynamic, "EM_S390"},
		{"script as init", func(b *Base) { b.Init = text }, ErrDynamic, text},
		{"no init", func(b *Base) { b.Init = "/nonexistent" }, fs.ErrNotExist, "/nonexistent"},
		{"dynamic busybox", func(b *Base) { b.Busybox = program(t, machine, true) }, ErrDynamic, "busybox"},
		{"no busybox", func(b *Base) { b.Busybox = "/nonexistent" }, fs.ErrNotExist, "/nonexistent"},
		{"no modules", func(b *Base) { b.ModulesDir = "/nonexistent" }, fs.ErrNotExist, "/nonexistent"},
		{"no index", func(b *Base) { must(t, os.Remove(filepath.Join(b.ModulesDir, "modules.dep"))) }, fs.ErrNotExist, "modules.dep"},
		{"missing module", func(b *Base) { b.Sets = []Set{{Required: []string{"nosuch"}}} }, kmod.ErrNotFound, "nosuch"},
		{"missing dependency", func(b *Base) { b.Sets = []Set{{Required: []string{"over"}}} }, kmod.ErrNotFound, "gone"},
		{"missing file", func(b *Base) { must(t, os.Remove(filepath.Join(b.ModulesDir, "kernel/virtio/virtio.ko"))) }, fs.ErrNotExist, "virtio.ko"},
		{"lying index", func(b *Base) {
			must(t, os.WriteFile(filepath.Join(b.ModulesDir, "modules.dep"), []byte("../../x.ko:\n"), 0o644))
		}, kmod.ErrFormat, "../../x.ko"},
		{"cache in the way", func(b *Base) { b.Cache = text }, unix.ENOTDIR, text},
	} {
		b := base(t)
		c.change(&b)
		a, err := b.Build(context.Background())
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want %v with %q", c.what, a, err, c.want, c.says)
		}
		if entries, err := os.ReadDir(b.Cache); err == nil && len(entries) > 0 {
			t.Errorf("%s: left in the cache: %v", c.what, entries)
		}
	}
	b := base(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Build(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The host's cache and this program are what an empty spec means.
func TestDefaults(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("TANDEM_CACHE", cache)
	b := Base{Busybox: NoBusybox}
	must(t, b.fill())
	self, err := os.Executable()
	must(t, err)
	if b.Init != self || b.Busybox != "" || b.Cache != filepath.Join(cache, "initramfs") {
		t.Errorf("filled to %+v", b)
	}
}

// A run finds its archive again in well under a millisecond.
func BenchmarkBuildFromCache(b *testing.B) {
	spec := base(b)
	build(b, spec)
	for b.Loop() {
		build(b, spec)
	}
}
