package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tandem/boot/kmod"
)

const (
	meta = "linux-image-cloud-amd64"
	rel1 = "6.1.0-1-cloud-amd64"
	rel2 = "6.1.0-2-cloud-amd64"
)

// addKernel puts a kernel and the meta package that leads to it into an archive.
func addKernel(a *archive, release, version string) {
	a.add("linux-image-"+release, version, "", withModules(release, nil))
	a.add(meta, version, "Depends: linux-image-"+release+" (= "+version+")\n", nil)
}

func TestPull(t *testing.T) {
	a := newArchive(t)
	addKernel(a, rel1, "6.1.10-1")
	a.update()
	s := newStore(t)

	var steps []string
	var done, total int64
	k, err := s.Pull(context.Background(), "", func(step string, d, tot int64) {
		if len(steps) == 0 || steps[len(steps)-1] != step {
			steps = append(steps, step)
		}
		if strings.HasPrefix(step, "download") {
			done, total = d, tot
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if k.Name != rel1 || k.Release != rel1 || k.Package != meta || k.Source != "linux-image-"+rel1+" 6.1.10-1" || !k.Default {
		t.Errorf("pulled %+v", k)
	}
	if data, err := os.ReadFile(k.Image); err != nil || string(data) != "image of "+rel1 {
		t.Errorf("image: %q, %v", data, err)
	}
	// printf 'image of 6.1.0-1-cloud-amd64' | sha256sum
	if k.Digest != "sha256:910540fb8fd55982ebd26063a628a868039606d70c663fb44f96240d41bfebf5" {
		t.Errorf("digest %s", k.Digest)
	}
	if k.SystemMap != "" {
		t.Errorf("Debian's note about System.map was kept as %s", k.SystemMap)
	}
	if data, err := os.ReadFile(k.Config); err != nil || string(data) != "CONFIG_PVH=y\n" {
		t.Errorf("config: %q, %v", data, err)
	}
	tree, err := kmod.Open(k.Modules)
	if err != nil {
		t.Fatal(err)
	}
	if there, builtin := tree.Has("ext4"); !there || !builtin {
		t.Error("ext4 is not built in")
	}
	if _, err := os.Stat(filepath.Join(s.dir, rel1, "usr")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("documentation was unpacked too: %v", err)
	}
	if got := strings.Join(steps, ", "); got != "ask apt for "+meta+", download linux-image-"+rel1+", index the modules of "+rel1 {
		t.Errorf("steps: %s", got)
	}
	if done == 0 || done != total {
		t.Errorf("download ended at %d of %d bytes", done, total)
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	// The same again is not downloaded.
	if err := os.RemoveAll(a.path("pool")); err != nil {
		t.Fatal(err)
	}
	again, err := s.Pull(context.Background(), meta, nil)
	if err != nil || again != k {
		t.Errorf("pulled again: %+v, %v; want what is there", again, err)
	}
}

func TestPullNewer(t *testing.T) {
	a := newArchive(t)
	addKernel(a, rel1, "6.1.10-1")
	a.update()
	s := newStore(t)
	if _, err := s.Pull(context.Background(), meta, nil); err != nil {
		t.Fatal(err)
	}
	// A rebuild with the same release takes the old one's place.
	files := withModules(rel1, nil)
	files["boot/vmlinuz-"+rel1] = "rebuilt"
	a.add("linux-image-"+rel1, "6.1.11-1", "", files)
	a.add(meta, "6.1.11-1", "Depends: linux-image-"+rel1+"\n", nil)
	a.update()
	k, err := s.Pull(context.Background(), meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(k.Image); err != nil || string(data) != "rebuilt" {
		t.Errorf("image: %q, %v; want the newer one", data, err)
	}
	// A new release stands beside it, and is what the package's name gives.
	addKernel(a, rel2, "6.1.20-1")
	a.update()
	if k, err = s.Pull(context.Background(), meta, nil); err != nil || k.Name != rel2 || !k.Default {
		t.Errorf("pulled %+v, %v; want %s as the default", k, err, rel2)
	}
	if k, err := s.Get(meta); err != nil || k.Name != rel2 {
		t.Errorf("Get(%s) = %s, %v", meta, k.Name, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Name != rel2 || list[1].Name != rel1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Ubuntu has a kernel's modules in a package of their own, and its files below /usr.
func TestPullInParts(t *testing.T) {
	a := newArchive(t)
	a.add("linux-image-virtual", "6.8", "Depends: linux-firmware, linux-image-6.8.0-1-generic\n", nil)
	a.add("linux-image-6.8.0-1-generic", "6.8", "Depends: kmod, linux-modules-6.8.0-1-generic | nothing (>= 1)\n",
		map[string]string{"boot/vmlinuz-6.8.0-1-generic": "image"})
	a.add("linux-modules-6.8.0-1-generic", "6.8", "", map[string]string{
		"usr/lib/modules/6.8.0-1-generic/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
		"boot/System.map-6.8.0-1-generic":                 strings.Repeat("ffffffff81000000 T _text\n", 1000),
	})
	a.update()
	s := newStore(t)
	k, err := s.Pull(context.Background(), "linux-image-virtual", nil)
	if err != nil {
		t.Fatal(err)
	}
	if k.Name != "6.8.0-1-generic" || k.SystemMap == "" || k.Modules != filepath.Join(s.dir, k.Name, "modules/lib/modules", k.Name) {
		t.Errorf("pulled %+v", k)
	}
}

func TestPullRefuses(t *testing.T) {
	a := newArchive(t)
	s := newStore(t)
	fails := func(what, pkg string, want error, words string) {
		t.Helper()
		k, err := s.Pull(context.Background(), pkg, nil)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %+v, %v; want %v with %q", what, k, err, want, words)
		}
		if left := leftovers(t, s); len(left) > 0 {
			t.Errorf("%s: left behind: %q", what, left)
		}
		if list, err := s.List(); err != nil || len(list) > 0 {
			t.Errorf("%s: list: %+v, %v", what, list, err)
		}
	}
	fails("no index", meta, ErrNoPackage, "run `apt-get update`")

	a.add("hello", "1", "", map[string]string{"usr/bin/hello": "hi"})
	a.add("linux-image-circle", "1", "Depends: linux-image-circle\n", nil)
	a.add("linux-image-6.1.0-empty", "1", "", map[string]string{"usr/share/x": "x"})
	mixed := withModules(rel1, nil)
	mixed["lib/modules/"+rel2+"/modules.order"] = ""
	a.add("linux-image-6.1.0-mixed", "1", "", mixed)
	mixed = withModules(rel1, nil)
	mixed["boot/vmlinuz-"+rel2] = "another"
	a.add("linux-image-6.1.0-two", "1", "", mixed)
	a.add("linux-image-6.1.0-broken", "1", "", kernelFiles(rel1)) // with a module that is none
	tampered := a.add("linux-image-6.1.0-tampered", "1", "", withModules(rel1, nil))
	vanished := a.add("linux-image-6.1.0-vanished", "1", "", withModules(rel1, nil))
	a.update()
	data, err := os.ReadFile(tampered)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-20] ^= 1
	if err := errors.Join(os.WriteFile(tampered, data, 0o644), os.Remove(vanished)); err != nil {
		t.Fatal(err)
	}

	fails("unknown package", "linux-image-nosuch", ErrNoPackage, "linux-image-nosuch")
	fails("no kernel", "hello", nil, "hello: it is no kernel's image")
	fails("circle", "linux-image-circle", nil, "no kernel's image")
	fails("nothing in it", "linux-image-6.1.0-empty", ErrPackage, "vmlinuz")
	fails("modules of two", "linux-image-6.1.0-mixed", ErrPackage, rel2)
	fails("two images", "linux-image-6.1.0-two", ErrPackage, rel2)
	fails("bad module", "linux-image-6.1.0-broken", kmod.ErrFormat, "README.ko")
	fails("tampered with", "linux-image-6.1.0-tampered", nil, "linux-image-6.1.0-tampered")
	fails("gone from the archive", "linux-image-6.1.0-vanished", nil, "linux-image-6.1.0-vanished")
	fails("an option as a name", "--version", ErrName, "--version")
	fails("another's version", "linux-image-circle=2", ErrName, "")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Pull(ctx, "linux-image-6.1.0-mixed", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, want %v", err, context.Canceled)
	}
	a.add("linux-image-6.1.0-good", "1", "", withModules(rel1, nil))
	a.update()
	ctx, cancel = context.WithCancel(context.Background())
	_, err = s.Pull(ctx, "linux-image-6.1.0-good", func(step string, done, total int64) {
		if strings.HasPrefix(step, "download") && done == total {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled after the download: %v, want %v", err, context.Canceled)
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("cancelled after the download: left behind: %q", left)
	}
	t.Setenv("PATH", t.TempDir())
	fails("no apt", meta, nil, "tandem kernel import")
}

// The index is what counts, even when apt is content.
func TestDownloadedIsVerified(t *testing.T) {
	dir := t.TempDir()
	want := stanza{name: "x", size: 4, sha256: "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"} // of "data"
	if _, err := downloaded(dir, want); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	file := filepath.Join(dir, "x_1.deb")
	for data, verified := range map[string]bool{"data": true, "dat": false, "dato": false} {
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := downloaded(dir, want)
		if verified && (err != nil || got != file) || !verified && !errors.Is(err, ErrVerify) {
			t.Errorf("%q: %s, %v; verified should be %v", data, got, err, verified)
		}
	}
}

func TestPullsDontFight(t *testing.T) {
	a := newArchive(t)
	addKernel(a, rel1, "6.1.10-1")
	a.update()
	dir := t.TempDir()
	const pulls = 4
	var (
		wg    sync.WaitGroup
		got   [pulls]Kernel
		errs  [pulls]error
		loads sync.Map
	)
	for i := range pulls {
		wg.Go(func() {
			s, err := Open(dir) // each is as another process: a lock belongs to an open file
			if err != nil {
				errs[i] = err
				return
			}
			got[i], errs[i] = s.Pull(context.Background(), "", func(step string, _, _ int64) {
				if strings.HasPrefix(step, "download") {
					loads.Store(i, true)
				}
			})
		})
	}
	wg.Wait()
	for i := range pulls {
		if errs[i] != nil || got[i] != got[0] {
			t.Errorf("pull %d: %+v, %v; want %+v", i, got[i], errs[i], got[0])
		}
	}
	n := 0
	loads.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of %d downloaded it, want 1", n, pulls)
	}
}

func TestParseStanza(t *testing.T) {
	got, err := parseStanza([]byte("\nPackage: a\nVersion: 1:2-3\nDepends: b (= 1) | c, d:any, e\nSize: 12\nSHA256: AB\nDescription: x\n Size: 13\n\nPackage: b\nVersion: 9\n"))
	want := stanza{name: "a", version: "1:2-3", depends: []string{"b", "d", "e"}, size: 12, sha256: "ab"}
	if err != nil || got.name != want.name || got.version != want.version || strings.Join(got.depends, " ") != "b d e" || got.size != 12 || got.sha256 != "ab" {
		t.Errorf("parseStanza = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "\n\n", "Package: a\n", "Version: 1\n", "Package: a\nVersion: 1\nSize: -1\n", "Package: a\nVersion: 1\nSize: x\n"} {
		if s, err := parseStanza([]byte(bad)); err == nil {
			t.Errorf("parseStanza(%q) = %+v", bad, s)
		}
	}
}

func TestWatchDownload(t *testing.T) {
	var got []int64
	in := "dlstatus:1:0:Retrieving\npmstatus:x:50:y\ndlstatus:1:25.5:Retrieving: file 1\ndlstatus:1:nan:\ndlstatus:1:101:\ndlstatus\n" + strings.Repeat("x", 1<<17) + "\n"
	watchDownload(strings.NewReader(in), stanza{size: 1000}, func(_ string, done, _ int64) { got = append(got, done) })
	if len(got) != 2 || got[0] != 0 || got[1] != 255 {
		t.Errorf("progress %v, want 0 and 255", got)
	}
}
