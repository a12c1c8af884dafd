package box

import (
	"os"
	"testing"

	"tandem/internal/process"
)

// TestCollectSparesTheLiving has a dead box be started again between the moment that it was found and the moment that it would
// be removed.
func TestCollectSparesTheLiving(t *testing.T) {
	h := &Home{Run: t.TempDir(), Data: t.TempDir()}
	keeper, end := startKeeper(t)
	r := &Record{ID: newID(), Name: "dead", Keeper: keeper, home: h}
	r.Options.Rootfs = "/"
	if err := os.MkdirAll(r.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	end()
	_, left, err := h.deadBoxes()
	if err != nil || len(left) != 1 {
		t.Fatalf("%+v, %v", left, err)
	}
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.change(func(now *Record) { now.Keeper = self }); err != nil {
		t.Fatal(err)
	}
	_ = left[0].remove(t.Context()) // what it says is not told
	if _, err := h.Find("dead"); err != nil {
		t.Errorf("it was removed: %v", err)
	}
	// It is removed once it is dead again.
	if err := r.change(func(now *Record) { now.Keeper = keeper }); err != nil {
		t.Fatal(err)
	}
	if err := left[0].remove(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := h.Find("dead"); err == nil {
		t.Error("it is there still")
	}
}
