package box

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/internal/testenv"
)

// TestMountLayers mounts layers in both ways, and neither is to be seen.
func TestMountLayers(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Overlay)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var l overlayLayers
	for _, name := range []string{"a,b", "c:d"} { // characters that mount options have a use for
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "of "+name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		l.lower = append(l.lower, path)
	}
	for name, mount := range map[string]func() (int, error){
		"new": l.mount,
		"old": func() (int, error) { return l.mountOld(dir) },
	} {
		fd, err := mount()
		if name == "new" && err != nil {
			t.Logf("a kernel before 6.7: %v", err)
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		root := os.NewFile(uintptr(fd), name)
		if entries, err := os.ReadDir(byDescriptor(fd)); err != nil || len(entries) != 2 {
			t.Errorf("%s: %v, %v", name, entries, err)
		}
		if now, err := os.ReadFile("/proc/self/mountinfo"); err != nil || string(now) != string(mounts) {
			t.Errorf("%s: the mounts changed: %s", name, now)
		}
		root.Close()
	}
}
