package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// inMountNamespace runs f on a thread with mounts of its own, which end with it.
func inMountNamespace(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// overlay lists what an overlay of the layers shows, the topmost layer first.
func overlay(t *testing.T, options string, layers ...unpacked) string {
	t.Helper()
	var lower []string
	for _, l := range layers {
		lower = append(lower, l.dir)
	}
	lower = append(lower, t.TempDir()) // overlayfs wants two without an upper one
	target := t.TempDir()
	var list string
	inMountNamespace(t, func() error {
		if err := unix.Mount("overlay", target, "overlay", 0, "lowerdir="+strings.Join(lower, ":")+options); err != nil {
			return fmt.Errorf("mount overlay: %w", err)
		}
		defer unix.Unmount(target, unix.MNT_DETACH)
		var all []string
		var walk func(dir string) error
		walk = func(dir string) error {
			entries, err := os.ReadDir(filepath.Join(target, dir))
			if err != nil {
				return err
			}
			for _, e := range entries {
				name := filepath.Join(dir, e.Name())
				var st unix.Stat_t
				if err := unix.Lstat(filepath.Join(target, name), &st); err != nil {
					name += "(" + err.Error() + ")" // listed, and not there
				}
				all = append(all, name)
				if e.IsDir() {
					if err := walk(name); err != nil {
						return err
					}
				}
			}
			return nil
		}
		err := walk(".")
		list = strings.Join(all, " ")
		return err
	})
	return list
}

// TestWhiteoutsInAnOverlay has the kernel say what the layers mean.
func TestWhiteoutsInAnOverlay(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.MountNS, testenv.Overlay)
	base := pack(t, file("a", ""), file("d/x", ""), file("d/y", ""), file("e/sub/z", ""), file("g/old", ""), symlink("l", "a"))
	for _, test := range []struct {
		name  string
		items []item
		want  string
	}{
		{"a file is gone", []item{file(".wh.a", "")}, "d d/x d/y e e/sub e/sub/z g g/old l"},
		{"a folder is gone", []item{file(".wh.d", "")}, "a e e/sub e/sub/z g g/old l"},
		{"in a folder", []item{file("d/.wh.x", "")}, "a d d/y e e/sub e/sub/z g g/old l"},
		{"an opaque folder", []item{file("d/.wh..wh..opq", ""), file("d/new", "")}, "a d d/new e e/sub e/sub/z g g/old l"},
		{"opaque comes last", []item{file("d/new", ""), file("d/.wh..wh..opq", "")}, "a d d/new e e/sub e/sub/z g g/old l"},
		{"of what is not there", []item{file("d/.wh.none", ""), file("only/.wh.here", "")}, "a d d/x d/y e e/sub e/sub/z g g/old l only"},
		{"made anew as a file", []item{file(".wh.d", ""), file("d", "")}, "a d e e/sub e/sub/z g g/old l"},
		{"made anew as a folder", []item{file(".wh.d", ""), folderItem("d", 0o755), file("d/n", "")}, "a d d/n e e/sub e/sub/z g g/old l"},
		{"made anew by what is in it", []item{file(".wh.d", ""), file("d/n", "")}, "a d d/n e e/sub e/sub/z g g/old l"},
		{"made anew before the whiteout", []item{file("d/n", ""), file(".wh.d", "")}, "a d d/n e e/sub e/sub/z g g/old l"},
		{"a file before its whiteout", []item{file("a", ""), file(".wh.a", "")}, "a d d/x d/y e e/sub e/sub/z g g/old l"},
		{"a whiteout twice", []item{file(".wh.a", ""), file(".wh.a", "")}, "d d/x d/y e e/sub e/sub/z g g/old l"},
		{"a hard link of AUFS", []item{file(".wh..wh.aufs", ""), hardLink(".wh.a", ".wh..wh.aufs"), file(".wh..wh.plnk/f", "")}, "d d/x d/y e e/sub e/sub/z g g/old l"},
		{"a file in the place of a folder", []item{file("d", "")}, "a d e e/sub e/sub/z g g/old l"},
	} {
		for _, user := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/user=%v", test.name, user), func(t *testing.T) {
				o, options := Options{UserXattr: user, Devices: SkipDevices}, ""
				if user {
					options = ",userxattr"
				}
				below, above := mustUnpack(t, base, o), mustUnpack(t, pack(t, test.items...), o)
				if got := overlay(t, options, above, below); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			})
		}
	}
	t.Run("a whiteout in the bottom layer", func(t *testing.T) {
		if got := overlay(t, "", mustUnpack(t, pack(t, file(".wh.a", ""), file("d/.wh.x", ""), file("d/y", "")), Options{})); got != "d d/y" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("an opaque root", func(t *testing.T) {
		u := mustUnpack(t, pack(t, file(".wh..wh..opq", ""), file("new", "")), Options{})
		if !u.Root.Opaque {
			t.Error("not told")
		}
	})
}

func TestWhiteoutsThatEscape(t *testing.T) {
	testenv.Need(t, testenv.Root)
	for name, want := range map[string]error{
		".wh.": ErrName, "d/.wh.": ErrName, ".wh..": ErrEscape, ".wh...": ErrEscape, "d/.wh...": ErrEscape,
		"../.wh.x": ErrEscape, ".wh.d/x": ErrName, "/.wh.etc": ErrEscape,
	} {
		if _, err := unpack(t, pack(t, folderItem("d", 0o755), file(name, "")), Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	// A link first, then a whiteout below it.
	if _, err := unpack(t, pack(t, symlink("l", ".."), file("l/.wh.x", "")), Options{}); !errors.Is(err, ErrEscape) {
		t.Errorf("through a link: %v", err)
	}
	if _, err := unpack(t, pack(t, symlink("l", "/tmp"), file("l/.wh..wh..opq", "")), Options{}); !errors.Is(err, ErrEscape) {
		t.Errorf("opaque through a link: %v", err)
	}
}
