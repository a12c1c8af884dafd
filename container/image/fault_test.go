package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container/image/layer"
	"tandem/internal/testenv"
)

// TestNothingGoesOnAfterAnError unpacks several layers, and cannot begin with all of them.
func TestNothingGoesOnAfterAnError(t *testing.T) {
	s := newStore(t)
	var archives [][]byte
	for i := range 4 * runtime.GOMAXPROCS(0) {
		archives = append(archives, pack(t, fmt.Sprintf("f%d: x", i)))
	}
	add(t, s, "a", imageOf(t, archives...))
	if err := errors.Join(os.RemoveAll(s.path(layersDir)), os.Mkdir(s.path(layersDir), 0o700)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	returned := make(chan struct{})
	var first atomic.Bool
	var working sync.WaitGroup
	s.unpack = func(ctx context.Context, _ unpackJob, _ func(int64) error, _ func(int64)) (layer.Result, error) {
		working.Add(1)
		defer working.Done()
		if first.CompareAndSwap(false, true) { // no folder can be made any more, as on a full disk
			return layer.Result{}, errors.Join(full, os.Rename(s.path(layersDir), s.path("away")))
		}
		<-ctx.Done()
		select {
		case <-returned:
			t.Error("the caller has gone on, and a layer is unpacked still")
		case <-time.After(20 * time.Millisecond): // to end takes a while
		}
		return layer.Result{}, ctx.Err()
	}
	if _, _, err := s.Layers(context.Background(), "a", nil); !errors.Is(err, full) {
		t.Errorf("%v, want %v", err, full)
	}
	close(returned)
	working.Wait()
}

// TestRemovalThatWasKilled leaves a layer half removed, which then comes again and is removed again.
func TestRemovalThatWasKilled(t *testing.T) {
	s := newStore(t)
	add(t, s, "a", threeLayers(t))
	for _, name := range layerFolders(t, s) {
		if err := os.Rename(s.layerPath(name), s.layerPath(tempPrefix+name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.tree(t, "a"); got != threeLayersTree {
		t.Errorf("tree %s", got)
	}
	if r, err := s.Remove("a", false); err != nil || len(r.Images) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	checkClean(t, s)
	if left := layerFolders(t, s); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// TestUnreadableIsNotGarbage has a manifest that cannot be read for a moment, as when there are no descriptors left, and
// removes something else meanwhile.
func TestUnreadableIsNotGarbage(t *testing.T) {
	s := newStore(t)
	a := add(t, s, "a", threeLayers(t))
	add(t, s, "b", imageOf(t, pack(t, "b: 2")))
	path := s.blobPath(a.Digest)
	if err := errors.Join(os.Rename(path, path+".away"), os.Symlink(path, path)); err != nil { // ELOOP
		t.Fatal(err)
	}
	if r, err := s.Remove("b", false); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if got := s.tree(t, "a"); got != threeLayersTree {
		t.Errorf("tree %s", got)
	}
	if r, err := s.Prune(false); err != nil || r.Bytes == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	checkClean(t, s)
}

// onSmallDisk runs a word of testProcess with a store on a disk of one megabyte.
func onSmallDisk(t *testing.T, word string, stdin []byte) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS)
	root := t.TempDir()
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=1m tmpfs "$0" && exec /proc/self/fd/3`, root)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), helperVariable+"="+word+" "+root)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// noise is what no compression helps against.
func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

func TestFullDisk(t *testing.T) {
	onSmallDisk(t, "full", pack(t, "a: x", "b: "+noise(700_000)))
}

// TestRemoveFromFullDisk has no room for a new index, let alone for anything else.
func TestRemoveFromFullDisk(t *testing.T) {
	onSmallDisk(t, "full-remove", pack(t, "a: x", "b: "+noise(200_000)))
}

// TestImportFromPipeThatHangs gives an import up that waits for more.
func TestImportFromPipeThatHangs(t *testing.T) {
	archive := pack(t, "a: x", "b: "+noise(100_000))
	for _, size := range []int{0, 1000, 50_000} {
		s := newStore(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		imported := make(chan error, 1)
		go func() {
			_, err := s.Import(ctx, r, ImportOptions{Name: "a"})
			imported <- err
		}()
		if _, err := w.Write(archive[:size]); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case err = <-imported:
		case <-time.After(30 * time.Second):
			t.Error("it hangs")
			w.Close()
			err = <-imported
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d bytes: %v", size, err)
		}
		w.Close()
		r.Close()
		checkClean(t, s)
	}
}

// TestImpliedFoldersAreGivenUp cancels what an image can make long: to look for a folder in all layers below each layer.
func TestImpliedFoldersAreGivenUp(t *testing.T) {
	s := newStore(t)
	add(t, s, "a", imageOf(t, pack(t, "a: 1"), pack(t, "b: 2"), pack(t, "none/c: 3")))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Layers(ctx, "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestLayoutOfPipes has pipes in the place of a layout's files, which nobody writes to.
func TestLayoutOfPipes(t *testing.T) {
	s := newStore(t)
	add(t, s, "a", imageOf(t, pack(t, "a: 1"), pack(t, "b: 2")))
	f, _, err := s.resolve("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{indexFile, filepath.Join(blobsDir, "sha256", f.manifest.Layers[1].Digest.Encoded())} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		other := newStore(t)
		imported := make(chan error, 1)
		go func() {
			_, err := other.ImportPath(context.Background(), dir, ImportOptions{})
			imported <- err
		}()
		select {
		case err = <-imported:
		case <-time.After(30 * time.Second):
			t.Error("it hangs")
			if err := os.WriteFile(path, nil, 0); err != nil { // a writer, who goes again
				t.Fatal(err)
			}
			err = <-imported
		}
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", name, err, ErrFormat)
		}
		checkClean(t, other)
	}
}
