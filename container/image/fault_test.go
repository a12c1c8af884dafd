package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/container/image/layer"
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
