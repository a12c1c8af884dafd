package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/boot"
	"tandem/boot/kmod"
	"tandem/internal/testenv"
)

func TestImportPackage(t *testing.T) {
	testenv.Need(t, testenv.APT) // for dpkg-deb
	deb := filepath.Join(t.TempDir(), "linux-image.deb")
	control := "Package: linux-image-" + rel1 + "\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: test\n"
	buildDeb(t, deb, control, withModules(rel1, nil))
	s := newStore(t)
	k, err := s.Import(context.Background(), deb, "", "", nil)
	if err != nil || k.Name != rel1 || k.Source != deb || k.Modules == "" || k.Package != "" {
		t.Fatalf("imported %+v, %v", k, err)
	}
	if _, err := s.Import(context.Background(), deb, "", "", nil); !errors.Is(err, ErrExists) {
		t.Errorf("imported twice: %v, want %v", err, ErrExists)
	}
	k, err = s.Import(context.Background(), deb, "mine", "", nil)
	if err != nil || k.Name != "mine" || k.Release != rel1 || k.Modules == "" {
		t.Errorf("imported as mine: %+v, %v", k, err)
	}
	if _, err := s.Import(context.Background(), deb, "other", t.TempDir(), nil); !errors.Is(err, ErrPackage) {
		t.Errorf("package and modules: %v, want %v", err, ErrPackage)
	}
}

// The kernel that `make test` has pulled is imported as a user's own.
func TestImportImage(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel)
	cached, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	from, err := cached.Get(GuestPackage)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	k, err := s.Import(context.Background(), from.Image, "", from.Modules, nil)
	if err != nil {
		t.Fatal(err)
	}
	if k.Name != from.Release || k.Digest != from.Digest || !k.Default {
		t.Errorf("imported %+v, want the likes of %+v", k, from)
	}
	for _, index := range []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin"} {
		a, aerr := os.ReadFile(filepath.Join(from.Modules, index))
		b, berr := os.ReadFile(filepath.Join(k.Modules, index))
		if aerr != nil || berr != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", index, aerr, berr)
		}
	}
	plain, err := s.Import(context.Background(), from.Image, "plain", "", nil)
	if err != nil || plain.Modules != "" || plain.Release != from.Release {
		t.Errorf("without modules: %+v, %v", plain, err)
	}
	if _, err := s.Import(context.Background(), from.Image, "odd", t.TempDir(), nil); !errors.Is(err, ErrPackage) || !strings.Contains(err.Error(), from.Release) {
		t.Errorf("modules of another kernel: %v, want %v", err, ErrPackage)
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestImportRefuses(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a kernel ", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]error{text: boot.ErrFormat, pipe: boot.ErrFormat, dir: boot.ErrFormat, filepath.Join(dir, "nosuch"): fs.ErrNotExist} {
		if k, err := s.Import(context.Background(), file, "", "", nil); !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v; want %v", file, k, err, want)
		}
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestCopyModules(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "1.2.3")
	write := func(name, data string) {
		p := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, target string) {
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("kernel/a.ko", "a")
	write("kernel/b.ko.xz", "b")
	write("modules.builtin", "c")
	write("vdso/vdso64.so", "not needed")
	link("build", "/usr/src/linux")
	link("kernel/linked.ko", "a.ko")
	copyTo := func() (string, error) {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		return filepath.Join(dir, "modules/lib/modules/1.2.3"), copyModules(context.Background(), root, tree, quiet(nil))
	}
	to, err := copyTo()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"kernel/a.ko": "a", "kernel/b.ko.xz": "b", "kernel/linked.ko": "a", "modules.builtin": "c"} {
		st, err := os.Lstat(filepath.Join(to, name))
		if err != nil || !st.Mode().IsRegular() {
			t.Errorf("%s: %v, want a regular file", name, err)
		}
		if data, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(data) != want {
			t.Errorf("%s = %q, %v; want %q", name, data, err, want)
		}
	}
	for _, name := range []string{"build", "vdso"} {
		if _, err := os.Lstat(filepath.Join(to, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was copied: %v", name, err)
		}
	}
	link("kernel/secret.ko", "/etc/passwd")
	if _, err := copyTo(); err == nil || !strings.Contains(err.Error(), "secret.ko") {
		t.Errorf("link out of the tree: %v", err)
	}
	if err := os.Remove(filepath.Join(tree, "kernel/secret.ko")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(tree, "kernel/pipe.ko"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := copyTo(); !errors.Is(err, ErrPackage) {
		t.Errorf("pipe: %v, want %v", err, ErrPackage)
	}
}

func TestBannerRelease(t *testing.T) {
	banner := "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP"
	pad := strings.Repeat("\x00", 1<<20-20)
	for what, c := range map[string]struct{ data, want string }{
		"at the start":    {banner, "6.1.0-56-cloud-amd64"},
		"across a window": {pad + banner, "6.1.0-56-cloud-amd64"},
		"in the third":    {pad + pad + pad + banner, "6.1.0-56-cloud-amd64"},
		"format first":    {"Linux version %s (%s)\x00" + banner, "6.1.0-56-cloud-amd64"},
		"none":            {pad + pad, ""},
		"format only":     {"Linux version %s", ""},
		"cut":             {"Linux version 6.1", ""},
		"odd":             {"Linux version 6.1/../../x (", ""},
		"empty":           {"", ""},
	} {
		if got, err := bannerRelease(strings.NewReader(c.data)); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", what, got, err, c.want)
		}
	}
}

// A kernel that was pulled has what an initramfs asks of it.
func TestPulledKernels(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel)
	s, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Get(GuestPackage)
	if err != nil {
		t.Fatal(err)
	}
	if _, digest, err := digestFile(k.Image); err != nil || k.Digest != "sha256:"+digest {
		t.Errorf("image has sha256 %s, recorded is %s (%v)", digest, k.Digest, err)
	}
	tree, err := kmod.Open(k.Modules)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Version() != k.Release {
		t.Errorf("modules are for %s, the kernel is %s", tree.Version(), k.Release)
	}
	if _, _, err := tree.Resolve([]string{"virtio_pci", "virtio_mmio", "virtio_blk", "ext4"}, nil); err != nil {
		t.Error(err)
	}
}
