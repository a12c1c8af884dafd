package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tandem/container/image/layer"
)

// add imports an image that the registry client's library has made.
func add(t testing.TB, s *Store, name string, img v1.Image) Image {
	t.Helper()
	images, err := s.Import(context.Background(), bytes.NewReader(dockerArchive(t, map[string]v1.Image{name: img})), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return images[0]
}

func TestDefaultRoot(t *testing.T) {
	t.Setenv("TANDEM_ROOT", "/some/where")
	if root, err := DefaultRoot(); root != "/some/where" || err != nil {
		t.Errorf("%s, %v", root, err)
	}
	t.Setenv("TANDEM_ROOT", "")
	t.Setenv("XDG_DATA_HOME", "/data")
	want := "/data/tandem"
	if os.Geteuid() == 0 {
		want = "/var/lib/tandem"
	}
	if root, err := DefaultRoot(); root != want || err != nil {
		t.Errorf("%s, %v, want %s", root, err, want)
	}
}

// TestStoreIsPrivate keeps other users from the set-user-ID programs that images hold (CVE-2021-41091).
func TestStoreIsPrivate(t *testing.T) {
	s := newStore(t)
	st, err := os.Stat(s.Dir())
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.Chmod(s.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Dir(s.dir)); err != nil {
		t.Fatal(err)
	}
	if st, err = os.Stat(s.Dir()); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("opened again: %v, %v", st.Mode(), err)
	}
	if _, err := Open("/dev/null/x"); err == nil {
		t.Error("opened a store below a device")
	}
}

func TestResolve(t *testing.T) {
	s := newStore(t)
	a := add(t, s, "localhost/mine:1", imageOf(t, pack(t, "a: 1")))
	b := add(t, s, "other:1", imageOf(t, pack(t, "b: 2")))
	for ref, want := range map[string]Image{
		"localhost/mine:1": a, "mine:1": a, a.Digest.String(): a, a.Digest.Encoded(): a, a.Digest.String()[:20]: a, a.ID.String(): a,
		a.ID.Encoded()[:12]: a, "other:1": b, "docker.io/library/other:1": b, "other@" + b.Digest.String(): b, "mine:9@" + a.Digest.String(): a,
	} {
		if got, err := s.Resolve(ref); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", ref, got, err, want)
		}
	}
	for _, ref := range []string{"mine", "other:2", "other@" + a.Digest.String(), someDigest, "sha256:0123", "0123456789ab", "ab"} {
		if got, err := s.Resolve(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	if _, err := s.Resolve("NO"); !errors.Is(err, ErrReference) {
		t.Errorf("%v", err)
	}
	// Digests that begin in the same way are found by trying: there are but so many first digits.
	seen := map[string]string{}
	for i := 0; ; i++ {
		image := add(t, s, fmt.Sprintf("many:%d", i), imageOf(t, pack(t, fmt.Sprintf("f: %d", i))))
		index, err := s.readIndex()
		if err != nil {
			t.Fatal(err)
		}
		if prefix := image.Digest.Encoded()[:1]; seen[prefix] != "" {
			if _, err := s.findID(index, prefix); !errors.Is(err, ErrAmbiguous) {
				t.Errorf("%s: %v", prefix, err)
			}
			break
		}
		seen[image.Digest.Encoded()[:1]] = "seen"
	}
}

func TestTagAndRemove(t *testing.T) {
	s := newStore(t)
	a, b := add(t, s, "a:1", threeLayers(t)), add(t, s, "b:1", imageOf(t, pack(t, "b: 2")))
	for _, name := range []string{"x/y:z", "b:2"} {
		if err := s.Tag("a:1", name); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range [][2]string{{"none", "c"}, {"a:1", "UP"}, {"a:1", "c@" + someDigest}} {
		if err := s.Tag(bad[0], bad[1]); err == nil {
			t.Errorf("tagged %q", bad)
		}
	}
	if err := s.Tag("b:1", "b:2"); err != nil { // which takes it from the other
		t.Fatal(err)
	}
	if got, err := s.Resolve("b:2"); err != nil || got.Digest != b.Digest {
		t.Errorf("b:2 is %+v, %v", got, err)
	}
	r, err := s.Remove("a:1", false)
	if err != nil || !slices.Equal(r.Names, []string{"docker.io/library/a:1"}) || len(r.Images) != 0 || r.Bytes != 0 {
		t.Errorf("removed one name of two: %+v, %v", r, err)
	}
	if got := s.tree(t, "x/y:z"); got != threeLayersTree {
		t.Errorf("tree %s", got)
	}
	if r, err = s.Remove(a.ID.Encoded()[:10], false); err != nil || len(r.Images) != 1 || r.Images[0] != a.Digest || r.Bytes == 0 {
		t.Errorf("removed by its ID: %+v, %v", r, err)
	}
	if n := len(layerFolders(t, s)); n != 1 {
		t.Errorf("%d layers are left", n)
	}
	if _, err := s.Remove("a:1", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if r, err = s.Remove(b.Digest.String(), false); err != nil || len(r.Names) != 2 {
		t.Errorf("removed all names: %+v, %v", r, err)
	}
	if u, err := s.Usage(); err != nil || u != (Usage{}) {
		t.Errorf("left %+v, %v", u, err)
	}
	checkClean(t, s)
}

func TestLayersAreShared(t *testing.T) {
	s := newStore(t)
	base := pack(t, "base: 1")
	add(t, s, "a", imageOf(t, base, pack(t, "a: 2")))
	add(t, s, "b", imageOf(t, base, pack(t, "b: 3"), base)) // the bottom layer once more on top
	if n := len(layerFolders(t, s)); n != 3 {
		t.Errorf("%d layers are unpacked, want 3", n)
	}
	a, _, err := s.Layers(context.Background(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := s.Layers(context.Background(), "b", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != 2 || len(b) != 2 || a[1] != b[0] {
		t.Errorf("layers %q, %q", a, b)
	}
	if got := s.tree(t, "b"); got != "b=3 base=1" {
		t.Errorf("tree %s", got)
	}
	if _, err := s.Remove("a", false); err != nil {
		t.Fatal(err)
	}
	if got := s.tree(t, "b"); got != "b=3 base=1" {
		t.Errorf("tree after the other was removed: %s", got)
	}
}

func TestLeases(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	add(t, s, "a", threeLayers(t))
	lease, err := s.Acquire(ctx, "container-1", "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(lease.Lower) != 3 || lease.Config.Config.Cmd[0] != "/bin/sh" || lease.Root.Mode != 0o755 {
		t.Errorf("%+v", lease)
	}
	if got, err := s.Leases(); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0].Lower, lease.Lower) || got[0].Image != lease.Image {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Remove("a", false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "container-1") {
		t.Errorf("removed what is in use: %v", err)
	}
	if r, err := s.Prune(true); err != nil || len(r.Images) != 0 {
		t.Errorf("pruned %+v, %v", r, err)
	}
	if r, err := s.Remove("a", true); err != nil || len(r.Images) != 1 {
		t.Errorf("by force: %+v, %v", r, err)
	}
	if got := mountTree(t, lease.Lower); got != threeLayersTree {
		t.Errorf("tree of the lease: %s", got)
	}
	if err := s.Release("container-1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Release("container-1"); err != nil {
		t.Errorf("released twice: %v", err)
	}
	if _, err := s.Prune(false); err != nil {
		t.Fatal(err)
	}
	if n := layerFolders(t, s); len(n) != 0 {
		t.Errorf("left %q", n)
	}
	for _, bad := range []string{"", "../x", "a/b", ".x", strings.Repeat("x", 201)} {
		if _, err := s.Acquire(ctx, bad, "a", nil); err == nil {
			t.Errorf("leased to %q", bad)
		}
		if err := s.Release(bad); err == nil {
			t.Errorf("released %q", bad)
		}
	}
}

// TestImpliedFolders has a layer that leaves out a folder, over two that have it with different modes.
func TestImpliedFolders(t *testing.T) {
	s := newStore(t)
	open, shut := pack(t, "srv/", "srv/a: 1"), archiveWithMode(t, "srv/", 0o711, 5)
	top := pack(t, "srv/sub/f: x")
	add(t, s, "open", imageOf(t, open, top))
	add(t, s, "shut", imageOf(t, shut, pack(t, "other: x"), top))
	add(t, s, "gone", imageOf(t, shut, pack(t, ".wh.srv"), top))
	for name, want := range map[string]struct {
		mode uint32
		uid  uint32
	}{"open": {0o755, 0}, "shut": {0o711, 5}, "gone": {0o755, 0}} {
		lower, _, err := s.Layers(context.Background(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		inOverlay(t, lower, func(root string) error {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(root, "srv"), &st); err != nil {
				return err
			}
			if st.Mode&0o7777 != want.mode || st.Uid != want.uid {
				t.Errorf("%s: srv has mode %o and owner %d, want %o, %d", name, st.Mode&0o7777, st.Uid, want.mode, want.uid)
			}
			return nil
		})
	}
	before := layerFolders(t, s)
	if _, err := s.Prune(false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Layers(context.Background(), "shut", nil); err != nil {
		t.Fatal(err)
	}
	if after := layerFolders(t, s); !slices.Equal(before, after) {
		t.Errorf("layers %q, and after pruning %q", before, after)
	}
	if _, err := s.Prune(true); err != nil {
		t.Fatal(err)
	}
	if n := layerFolders(t, s); len(n) != 0 {
		t.Errorf("left %q", n)
	}
}

func TestChanges(t *testing.T) {
	s := newStore(t)
	add(t, s, "three", threeLayers(t))
	layers, err := s.Changes(context.Background(), "three", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, l := range layers {
		for _, c := range l.Changes {
			got = append(got, fmt.Sprintf("%d%s%s%s", i+1, c.Op, c.Kind, c.Path))
		}
		if a := l.Added + l.Changed + l.Deleted; a != len(l.Changes) || l.CreatedBy == "" || l.Entries == 0 {
			t.Errorf("%+v", l)
		}
	}
	want := []string{
		"1Albin", "1Adetc", "1A-etc/hosts", "1A-etc/motd", "1Adusr", "1Adusr/bin", "1A-usr/bin/sh",
		"2C-etc/hosts", "2D-etc/motd", "2Adopt", "2Adopt/app", "2A-opt/app/a", "2A-opt/app/b",
		"3D-opt/app/a", "3D-opt/app/b", "3A-opt/app/c",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestBombs has a few kilobytes that become many.
func TestBombs(t *testing.T) {
	zeros := func(n int) []byte { return pack(t, "zeros: "+strings.Repeat("\x00", n)) }
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("f%d", i))
	}
	for _, test := range []struct {
		name string
		img  v1.Image
	}{
		{"a large file", imageOf(t, zeros(2<<20))},
		{"many files", imageOf(t, pack(t, many...))},
		{"many layers", imageOf(t, pack(t, "1: x"), pack(t, "2: x"), pack(t, "3: x"), pack(t, "4: x"), pack(t, "5: x"))},
		{"layers that are too large together", imageOf(t, zeros(900_000), zeros(900_001), zeros(900_002))},
		{"a large stream", imageOf(t, append(pack(t, "f: x"), make([]byte, 20<<20)...))},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, WithLimits(Limits{LayerBytes: 1 << 20, ImageBytes: 2 << 20, Entries: 100, Layers: 4, BlobBytes: 1 << 20}))
			archive := gzipped(t, dockerArchive(t, map[string]v1.Image{"bomb": test.img}))
			if len(archive) > 30_000 {
				t.Fatalf("%d bytes are no bomb", len(archive))
			}
			_, err := s.Import(context.Background(), bytes.NewReader(archive), ImportOptions{})
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v", err)
			}
			checkClean(t, s)
			if n := layerFolders(t, s); len(n) != 0 {
				t.Errorf("left %q", n)
			}
		})
	}
	t.Run("a root file system", func(t *testing.T) {
		s := newStore(t, WithLimits(Limits{LayerBytes: 1 << 20}))
		if _, err := s.Import(context.Background(), bytes.NewReader(gzipped(t, zeros(2<<20))), ImportOptions{Name: "x"}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v", err)
		}
		checkClean(t, s)
	})
	t.Run("a layer that has been unpacked counts", func(t *testing.T) {
		s := newStore(t)
		add(t, s, "first", imageOf(t, zeros(900_000)))
		small, err := Open(filepath.Dir(s.dir), WithLimits(Limits{ImageBytes: 1 << 20}))
		if err != nil {
			t.Fatal(err)
		}
		archive := dockerArchive(t, map[string]v1.Image{"bomb": imageOf(t, zeros(900_000), zeros(900_001))})
		if _, err := small.Import(context.Background(), bytes.NewReader(archive), ImportOptions{}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v", err)
		}
	})
}

func TestDevicesMayBeRefused(t *testing.T) {
	s := newStore(t, WithoutDevices())
	archive := dockerArchive(t, map[string]v1.Image{"a": imageOf(t, archiveWithDevice(t))})
	if _, err := s.Import(context.Background(), bytes.NewReader(archive), ImportOptions{}); !errors.Is(err, layer.ErrDevice) {
		t.Errorf("%v", err)
	}
	checkClean(t, s)
}

// TestContentThatRots changes bytes of a store behind its back.
func TestContentThatRots(t *testing.T) {
	ctx := context.Background()
	spoil := func(t *testing.T, s *Store, d ocispec.Descriptor, size bool) {
		t.Helper()
		data, err := os.ReadFile(s.blobPath(d.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if data[len(data)/2] ^= 1; size {
			data = data[:len(data)-1]
		}
		if err := os.WriteFile(s.blobPath(d.Digest), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []bool{false, true} {
		for _, which := range []string{"manifest", "config", "layer"} {
			t.Run(fmt.Sprint(which, size), func(t *testing.T) {
				s := newStore(t)
				add(t, s, "a", threeLayers(t))
				f, _, err := s.resolve("a")
				if err != nil {
					t.Fatal(err)
				}
				spoil(t, s, map[string]ocispec.Descriptor{"manifest": f.descriptor, "config": f.manifest.Config, "layer": f.manifest.Layers[1]}[which], size)
				if err := os.RemoveAll(s.path(layersDir)); err != nil {
					t.Fatal(err)
				}
				if err := s.prepare(); err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.Layers(ctx, "a", nil); err == nil {
					t.Error("unpacked")
				}
				if err := s.Save(ctx, &bytes.Buffer{}, "a"); err == nil {
					t.Error("saved")
				}
				images, err := s.List()
				if err != nil || len(images) != 1 || (images[0].Problem == "") != (which == "layer") || images[0].Names[0] != "docker.io/library/a:latest" {
					t.Errorf("listed %+v, %v", images, err)
				}
				if _, err := s.Remove("a", false); err != nil {
					t.Errorf("%v", err)
				}
				add(t, s, "a", threeLayers(t))
				if got := s.tree(t, "a"); got != threeLayersTree {
					t.Errorf("tree %s", got)
				}
			})
		}
	}
}

func TestSave(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	a, b := add(t, s, "a:1", threeLayers(t)), add(t, s, "b:1", imageOf(t, pack(t, "b: 2")))
	if err := s.Tag("b:1", "b:2"); err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := s.Save(ctx, &first, "a:1", b.ID.String()); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, &second, "a:1", b.ID.String()); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the same images give other bytes: %v", err)
	}
	other := newStore(t)
	images, err := other.Import(ctx, &first, ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"docker.io/library/a:1", "docker.io/library/b:1", "docker.io/library/b:2"}
	if got := namesOf(images); !slices.Equal(slices.Compact(got), want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if got, err := other.Resolve("a:1"); err != nil || got.Digest != a.Digest {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.Save(ctx, &second, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	full := errors.New("full")
	if err := s.Save(ctx, writerFunc(func([]byte) (int, error) { return 0, full }), "a:1"); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestKilled kills an import in the middle, and looks at what is left.
func TestKilled(t *testing.T) {
	s := newStore(t)
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("dir%d/file: %s", i, strings.Repeat("x", 50_000)))
	}
	archive := pack(t, lines...)
	cmd := process(t, "import", s)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if cmd.ProcessState == nil { // the test failed before it came to that
			_, _ = cmd.Process.Kill(), cmd.Wait()
		}
	}()
	if _, err := stdin.Write(archive[:len(archive)/2]); err != nil {
		t.Fatal(err)
	}
	half := func() bool { // files of the layer are there
		found, err := filepath.Glob(s.path(layersDir, tempPrefix+"*", diffDir, "dir9*"))
		return err == nil && len(found) > 0
	}
	waitFor(t, half)
	if r, err := s.Prune(true); err != nil || !r.Kept || !half() {
		t.Errorf("pruned while another process adds: %+v, %v", r, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if images, err := s.List(); err != nil || len(images) != 0 {
		t.Errorf("%+v, %v", images, err)
	}
	if !half() {
		t.Error("nothing was left to clean up")
	}
	if _, err := s.Prune(false); err != nil {
		t.Fatal(err)
	}
	checkClean(t, s)
	cmd = process(t, "import", s)
	cmd.Stdin = bytes.NewReader(archive)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if image, err := s.Resolve("helped"); err != nil || len(image.Layers) != 1 {
		t.Errorf("%+v, %v", image, err)
	}
	checkClean(t, s)
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

// TestManyAtOnce has processes and goroutines add, use and remove the same content.
func TestManyAtOnce(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, dockerArchive(t, map[string]v1.Image{"x": threeLayers(t)}), 0o600); err != nil {
		t.Fatal(err)
	}
	add(t, s, "stays", threeLayers(t))
	var group sync.WaitGroup
	for range 3 {
		cmd := process(t, "churn", s, "ARCHIVE="+path)
		group.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("process: %v", err)
			}
		})
	}
	for i := range 3 {
		group.Go(func() {
			for range 5 {
				name := fmt.Sprintf("goroutine:%d", i)
				if _, err := s.ImportPath(context.Background(), path, ImportOptions{Name: name}); err != nil {
					t.Error(err)
				}
				if _, err := s.Prune(false); err != nil {
					t.Error(err)
				}
				if _, _, err := s.Layers(context.Background(), name, nil); err != nil {
					t.Error(err)
				}
				if _, err := s.Remove(name, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if r, err := s.Prune(false); err != nil || r.Kept {
		t.Errorf("%+v, %v", r, err)
	}
	checkClean(t, s)
	images, err := s.List()
	if err != nil || len(images) != 1 || len(images[0].Names) != 1 {
		t.Errorf("%+v, %v", images, err)
	}
	if got := s.tree(t, "stays"); got != threeLayersTree {
		t.Errorf("tree %s", got)
	}
}
