package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// TestHostile tries to get out of the folder, and has each try refused for the right reason. What is around the folder
// stays as it is.
func TestHostile(t *testing.T) {
	testenv.Need(t, testenv.Root)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	away := filepath.Dir(victim)
	for _, test := range []struct {
		name  string
		items []item
		want  error
	}{
		{"dot dot", []item{file("../victim", "evil")}, ErrEscape},
		{"dot dot inside", []item{file("a/b/../../../victim", "evil")}, ErrEscape},
		{"dot dot that comes back", []item{file("a/../b", "evil")}, ErrEscape},
		{"only dot dot", []item{folderItem("..", 0o777)}, ErrEscape},
		{"absolute", []item{file(victim, "evil")}, ErrEscape},
		{"absolute folder", []item{folderItem(away, 0o777)}, ErrEscape},
		{"through an absolute link", []item{symlink("l", away), file("l/victim", "evil")}, ErrEscape},
		{"through a relative link", []item{symlink("l", "../../.."), file("l/victim", "evil")}, ErrEscape},
		{"through two links", []item{symlink("a", "b"), symlink("b", away), file("a/victim", "evil")}, ErrEscape},
		{"through a link in a folder", []item{symlink("d/l", "../.."), file("d/l/victim", "evil")}, ErrEscape},
		{"through a link to the root above", []item{symlink("l", "/"), file("l/etc/evil", "evil")}, ErrEscape},
		{"through /proc", []item{symlink("l", "/proc/self/root"), file("l/evil", "evil")}, ErrEscape},
		{"a folder made through a link", []item{symlink("l", away), folderItem("l/evil", 0o777)}, ErrEscape},
		{"a folder over a link", []item{symlink("l", away), folderItem("l", 0o777)}, ErrDuplicate},
		{"a file over a link", []item{symlink("l", victim), file("l", "evil")}, ErrDuplicate},
		{"a device over a link", []item{symlink("l", victim), {Header: tar.Header{Typeflag: tar.TypeFifo, Name: "l"}}}, ErrDuplicate},
		{"a link in a circle", []item{symlink("a", "b"), symlink("b", "a"), file("a/x", "evil")}, unix.ELOOP},
		{"a link to nowhere", []item{symlink("a", "none"), file("a/x", "evil")}, unix.ENOENT},
		{"a link to a file", []item{file("f", ""), symlink("a", "f"), file("a/x", "evil")}, unix.ENOTDIR},
		{"hard link out", []item{hardLink("l", "../victim")}, ErrEscape},
		{"absolute hard link", []item{hardLink("l", victim)}, ErrEscape},
		{"hard link through a link", []item{symlink("a", away), hardLink("l", "a/victim")}, ErrEscape},
		{"hard link to the root", []item{hardLink("l", ".")}, ErrArchive},
		{"hard link to a folder", []item{folderItem("d", 0o755), hardLink("l", "d")}, unix.EPERM},
		{"hard link to itself", []item{hardLink("l", "l")}, ErrArchive},
		{"hard link to nothing", []item{hardLink("l", "none")}, ErrArchive},
		{"hard link to what comes later", []item{hardLink("l", "f"), file("f", "")}, ErrArchive},
		{"hard link over a file", []item{file("f", "a"), file("g", "b"), hardLink("g", "f")}, ErrDuplicate},
		{"a file twice", []item{file("f", "a"), file("f", "b")}, ErrDuplicate},
		{"a file twice in other words", []item{file("d/f", "a"), file("./d//./f", "b")}, ErrDuplicate},
		{"a file and a folder", []item{file("f", "a"), folderItem("f", 0o755)}, ErrDuplicate},
		{"a folder and a file", []item{folderItem("f", 0o755), file("f", "a")}, ErrDuplicate},
		{"a file below a file", []item{file("f", "a"), file("f/g", "b")}, ErrDuplicate},
		{"a file for the root", []item{symlink(".", away)}, ErrArchive},
		{"a symbolic link to nothing", []item{symlink("l", "")}, unix.ENOENT},
		{"a long name", []item{file(strings.Repeat("n", 256), "")}, ErrName},
		{"a long path", []item{file(strings.Repeat("n/", 2100)+"f", "")}, ErrName},
		{"an owner below zero", []item{file("f", "").with(func(h *tar.Header) { h.Uid, h.Format = -1, tar.FormatGNU })}, ErrArchive},
		{"an owner that means none", []item{file("f", "").with(func(h *tar.Header) { h.Uid = 0xffffffff })}, ErrArchive},
		{"a device of no major number", []item{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "d", Devmajor: 5000}}}, ErrArchive},
		{"an entry of no type", []item{file("f", "").with(func(h *tar.Header) { h.Typeflag = 'Z' })}, ErrArchive},
		{"an attribute that is too large", []item{file("f", "").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": strings.Repeat("x", 200_000)}
		})}, unix.E2BIG},
		{"capabilities that are none", []item{file("f", "").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "evil"}
		})}, unix.EINVAL},
		{"an attribute that is no base64", []item{file("f", "").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"LIBARCHIVE.xattr.user.x": "%%%"}
		})}, ErrArchive},
		{"nothing at all", []item{file("fine", "x")}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := unpack(t, pack(t, test.items...), Options{})
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != nil && err != nil && !strings.HasPrefix(err.Error(), "layer: unpack: \"") {
				t.Errorf("%v does not name the entry", err)
			}
			for _, name := range strings.Fields(names(t, filepath.Dir(u.dir))) {
				if name != "d." && name != "ddiff" && !strings.HasPrefix(name[1:], "diff/") {
					t.Errorf("beside the folder: %s", name)
				}
			}
			if got := names(t, away); got != "d. -victim" {
				t.Errorf("elsewhere: %s", got)
			}
			if got, err := os.ReadFile(victim); err != nil || string(got) != "safe" {
				t.Errorf("the victim: %q, %v", got, err)
			}
		})
	}
}

// TestManyFolders makes more folders than are kept open, so that they are opened anew by their names.
func TestManyFolders(t *testing.T) {
	testenv.Need(t, testenv.Root)
	var items []item
	for round := range 3 {
		for i := range 3 * maxOpen {
			items = append(items, file("d"+string(rune('a'+i%26))+"/"+strings.Repeat("x", i/26)+"e/f"+string(rune('0'+round)), "x"))
		}
	}
	u := mustUnpack(t, pack(t, items...), Options{})
	if want := len(items) + 26 + 3*maxOpen; u.Entries != want {
		t.Errorf("%d entries, want %d", u.Entries, want)
	}
	for _, i := range items {
		u.stat(t, i.Name)
	}
}

func TestLimits(t *testing.T) {
	testenv.Need(t, testenv.Root)
	big := file("big", strings.Repeat("x", 100_000))
	many := []item{file("a", ""), file("b", ""), file(".wh.c", ""), folderItem("d", 0o755)}
	huge := func(size int64) []byte { // a header that promises more than there is
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: "huge", Size: size, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	errSpent := errors.New("spent")
	for _, test := range []struct {
		name    string
		archive []byte
		o       Options
		want    error
	}{
		{"within", pack(t, big, file("more", "x")), Options{Limits: Limits{Bytes: 100_001, Entries: 2}}, nil},
		{"bytes", pack(t, big, file("more", "x")), Options{Limits: Limits{Bytes: 100_000}}, ErrTooLarge},
		{"entries", pack(t, many...), Options{Limits: Limits{Entries: 3}}, ErrTooLarge},
		{"entries within", pack(t, many...), Options{Limits: Limits{Entries: 4}}, nil},
		{"what a header claims", huge(1 << 40), Options{Limits: Limits{Bytes: 1 << 30}}, ErrTooLarge},
		{"what a header claims, no limit", huge(1 << 40), Options{}, ErrArchive},
		{"the greatest size", huge(1<<63 - 1), Options{Limits: Limits{Bytes: 1 << 30}}, ErrTooLarge},
		{"the bytes of the stream", append(pack(t, file("f", "")), make([]byte, 3<<20)...), Options{Limits: Limits{Bytes: 1, Entries: 1}}, ErrTooLarge},
		{"a budget", pack(t, big), Options{Spend: func(int64) error { return errSpent }}, errSpent},
		{"nothing", nil, Options{}, nil},
		{"garbage", bytes.Repeat([]byte("garbage!"), 500), Options{}, ErrArchive},
		{"cut in a header", pack(t, big)[:300], Options{}, ErrArchive},
		{"cut in a file", pack(t, big)[:5000], Options{}, ErrArchive},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := unpack(t, test.archive, test.o); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestReaderThatFails(t *testing.T) {
	testenv.Need(t, testenv.Root)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	broken := errors.New("broken")
	r := io.MultiReader(bytes.NewReader(pack(t, file("a", strings.Repeat("x", 5000)))[:2000]), iotest.ErrReader(broken))
	if _, err := Unpack(context.Background(), dir, r, Options{}); !errors.Is(err, broken) || errors.Is(err, ErrArchive) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Unpack(ctx, dir, bytes.NewReader(pack(t, file("b", ""))), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestManyImpliedFolders has names of two thousand parts: few entries, and a thousand times as many folders.
func TestManyImpliedFolders(t *testing.T) {
	testenv.Need(t, testenv.Root)
	var items []item
	for i := range 3 {
		items = append(items, file(strings.Repeat(string(rune('a'+i))+"/", 100)+"f", ""))
	}
	archive := pack(t, items...)
	for entries, want := range map[int]error{3: ErrTooLarge, 302: ErrTooLarge, 303: nil} {
		u, err := unpack(t, archive, Options{Limits: Limits{Entries: entries}})
		if !errors.Is(err, want) {
			t.Errorf("at most %d: %v, want %v", entries, err, want)
		}
		if err == nil && u.Entries != entries {
			t.Errorf("%d entries, want %d", u.Entries, entries)
		}
	}
}

// TestMemoryOfFolders has folders with large attributes, which wait in memory until all that is in the folders is made.
func TestMemoryOfFolders(t *testing.T) {
	testenv.Need(t, testenv.Root)
	defer func(n int) { maxKept = n }(maxKept)
	maxKept = 10_000
	noted := func(name string, size int) item {
		return folderItem(name, 0o755).with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.note": strings.Repeat("x", size)}
		})
	}
	var several, again, named []item
	for i := range 12 {
		several = append(several, noted("d"+string(rune('a'+i)), 1000))
		again = append(again, noted("d", 1000)) // which is one folder
		named = append(named, folderItem(strings.Repeat(string(rune('a'+i)), 200)+"/"+strings.Repeat("n", 200)+"/"+strings.Repeat("m", 250), 0o755))
	}
	for _, test := range []struct {
		name  string
		items []item
		want  error
	}{{"several", several, ErrTooLarge}, {"one again and again", again, nil}, {"names", named, ErrTooLarge}, {"few", several[:5], nil}} {
		if _, err := unpack(t, pack(t, test.items...), Options{}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// TestHardLinkFarAway has more folders made on the way to the new name than are kept open, that of the old name among
// them.
func TestHardLinkFarAway(t *testing.T) {
	testenv.Need(t, testenv.Root)
	away := strings.Repeat("d/", 3*maxOpen) + "link"
	u := mustUnpack(t, pack(t, folderItem("a", 0o755), file("a/f", "x"), hardLink(away, "a/f")), Options{})
	if one, two := u.stat(t, "a/f"), u.stat(t, away); one.Ino != two.Ino {
		t.Errorf("inodes %d and %d", one.Ino, two.Ino)
	}
}

// TestGroupOfTheFolder unpacks into a folder that gives its group to all that is made in it.
func TestGroupOfTheFolder(t *testing.T) {
	testenv.Need(t, testenv.Root)
	dir := filepath.Join(t.TempDir(), "diff")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 0, 1234), unix.Chmod(dir, 0o2700)); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	big := file("big", strings.Repeat("x", smallFile+1))
	archive := pack(t, file("f", "x"), big, file("d/f", "x"), symlink("l", "f"), folderItem("e", 0o2755))
	if _, err := Unpack(context.Background(), in, bytes.NewReader(archive), Options{}); err != nil {
		t.Fatal(err)
	}
	u := unpacked{dir: dir}
	for name, mode := range map[string]uint32{
		".": unix.S_IFDIR | 0o755, "f": unix.S_IFREG | 0o644, "big": unix.S_IFREG | 0o644, "d": unix.S_IFDIR | 0o755,
		"d/f": unix.S_IFREG | 0o644, "l": unix.S_IFLNK | 0o777, "e": unix.S_IFDIR | 0o2755,
	} {
		if st := u.stat(t, name); st.Gid != uint32(os.Getegid()) || st.Mode != mode {
			t.Errorf("%s: group %d, mode %o, want %d, %o", name, st.Gid, st.Mode, os.Getegid(), mode)
		}
	}
}
