package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// capNetRaw is a security.capability: struct vfs_cap_data, revision 2, CAP_NET_RAW effective and permitted.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// TestUnpack makes one of everything.
func TestUnpack(t *testing.T) {
	testenv.Need(t, testenv.Root)
	long := strings.Repeat("a/very/long/path/", 30) + strings.Repeat("n", 200)
	u := mustUnpack(t, pack(t,
		folderItem(".", 0o750),
		folderItem("etc", 0o755),
		file("etc/hosts", "127.0.0.1 localhost\n"),
		file("bin/su", "#!").with(func(h *tar.Header) { h.Mode, h.Uid, h.Gid = 0o6755, 1234, 2345 }),
		folderItem("shut", 0o500).with(func(h *tar.Header) { h.Uid = 70000 }),
		file("shut/inside", "x"),
		folderItem("tmp", 0o1777),
		symlink("lib", "usr/lib").with(func(h *tar.Header) { h.Uid, h.Gid = 7, 8 }),
		symlink("away", "/etc/passwd"),
		hardLink("etc/hosts.same", "./etc/hosts"),
		hardLink("lib.same", "lib"),
		item{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "run/pipe", Mode: 0o620, ModTime: noon}},
		item{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: noon}},
		item{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev/big", Mode: 0o600, Devmajor: 259, Devminor: 70000, ModTime: noon}},
		file("bin/ping", "x").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capNetRaw}
		}),
		file("noted", "x").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "a\x01b", "LIBARCHIVE.xattr.user.other%20one": "aGVsbG8="}
		}),
		file(long, "deep"),
		file("empty", ""),
		file("line\nfeed \xff\"", "odd"),
		file("old", "x").with(func(h *tar.Header) { h.ModTime = time.Unix(-1000, 5) }),
	), Options{})

	if got, err := os.ReadFile(u.path("etc/hosts")); err != nil || string(got) != "127.0.0.1 localhost\n" {
		t.Errorf("etc/hosts = %q, %v", got, err)
	}
	for _, test := range []struct {
		name     string
		mode     uint32
		uid, gid uint32
	}{
		{".", unix.S_IFDIR | 0o750, 0, 0},
		{"etc", unix.S_IFDIR | 0o755, 0, 0},
		{"etc/hosts", unix.S_IFREG | 0o644, 0, 0},
		{"bin/su", unix.S_IFREG | 0o6755, 1234, 2345},
		{"bin", unix.S_IFDIR | 0o755, 0, 0},
		{"shut", unix.S_IFDIR | 0o500, 70000, 0},
		{"tmp", unix.S_IFDIR | 0o1777, 0, 0},
		{"lib", unix.S_IFLNK | 0o777, 7, 8},
		{"run/pipe", unix.S_IFIFO | 0o620, 0, 0},
		{"dev/null", unix.S_IFCHR | 0o666, 0, 0},
		{"dev/big", unix.S_IFBLK | 0o600, 0, 0},
		{long, unix.S_IFREG | 0o644, 0, 0},
		{"line\nfeed \xff\"", unix.S_IFREG | 0o644, 0, 0},
	} {
		st := u.stat(t, test.name)
		if st.Mode != test.mode || st.Uid != test.uid || st.Gid != test.gid {
			t.Errorf("%.50s: mode %o owner %d:%d, want %o %d:%d", test.name, st.Mode, st.Uid, st.Gid, test.mode, test.uid, test.gid)
		}
		if got := time.Unix(st.Mtim.Unix()); !got.Equal(noon) {
			t.Errorf("%.50s: time %v, want %v", test.name, got, noon)
		}
		e, ok := u.entries[test.name]
		if !ok || e.UID != test.uid || e.Mode != test.mode&0o7777 {
			t.Errorf("recorded %v, %v", e, ok)
		}
	}
	if st := u.stat(t, "dev/big"); unix.Major(st.Rdev) != 259 || unix.Minor(st.Rdev) != 70000 {
		t.Errorf("dev/big is %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if a, b := u.stat(t, "etc/hosts"), u.stat(t, "etc/hosts.same"); a.Ino != b.Ino || a.Nlink != 2 {
		t.Errorf("hard link: inodes %d, %d, %d names", a.Ino, b.Ino, a.Nlink)
	}
	if a, b := u.stat(t, "lib"), u.stat(t, "lib.same"); a.Ino != b.Ino {
		t.Errorf("hard link of a symbolic link: inodes %d, %d", a.Ino, b.Ino)
	}
	if got, _ := os.Readlink(u.path("away")); got != "/etc/passwd" {
		t.Errorf("away -> %q", got)
	}
	if st := u.stat(t, "old"); st.Mtim.Sec != -1000 || st.Mtim.Nsec != 5 {
		t.Errorf("old has time %v", st.Mtim)
	}
	for _, test := range []struct{ path, name, want string }{
		{"bin/ping", "security.capability", capNetRaw},
		{"noted", "user.note", "a\x01b"},
		{"noted", "user.other one", "hello"},
	} {
		if got, ok := xattr(t, u.path(test.path), test.name); got != test.want {
			t.Errorf("%s: attribute %s = %q, %v, want %q", test.path, test.name, got, ok, test.want)
		}
	}
	if !u.entries["bin"].Implied || u.entries["etc"].Implied || u.Root.Implied || !u.Implied {
		t.Errorf("implied: %v %v %v %v", u.entries["bin"], u.entries["etc"], u.Root, u.Implied)
	}
	if u.Skipped != 0 {
		t.Errorf("skipped %v", u.Examples)
	}
}

// TestUnpackAsTar holds the result against that of GNU tar, in the formats that it writes.
func TestUnpackAsTar(t *testing.T) {
	testenv.Need(t, testenv.Root)
	source := t.TempDir()
	script := `set -e
		mkdir -p usr/bin usr/share/$(printf 'd%.0s' $(seq 120)) var/empty
		for i in $(seq 50); do echo $i >usr/bin/tool$i; done
		dd if=/dev/urandom of=big bs=1000 count=700 status=none
		dd if=/dev/urandom of=usr/share/$(printf 'd%.0s' $(seq 120))/$(printf 'f%.0s' $(seq 150)) bs=100 count=1 status=none
		truncate -s 1M holes; printf abc | dd of=holes bs=1 seek=500000 conv=notrunc status=none
		ln usr/bin/tool1 usr/bin/again; ln -s ../usr/bin var/bin; mkfifo var/pipe; mknod var/full c 1 7
		chown -R 12:34 usr/bin; chmod 4711 usr/bin/tool2; chmod 1777 var; touch -d '2001-02-03 04:05:06' usr/bin/tool3 var`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, arguments := range [][]string{
		{"--format=gnu"},
		{"--format=posix"},
		{"--format=gnu", "--sparse"},
		{"--format=posix", "--sparse", "--sparse-version=1.0"},
		{"--format=posix", "--sparse", "--sparse-version=0.1"},
	} {
		t.Run(strings.Join(arguments, " "), func(t *testing.T) {
			archive, err := exec.Command("tar", append(arguments, "-C", source, "-c", ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			u := mustUnpack(t, archive, Options{})
			want := t.TempDir()
			extract := exec.Command("tar", "-x", "-p", "--numeric-owner", "-C", want)
			extract.Stdin = bytes.NewReader(archive)
			if out, err := extract.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			compareTrees(t, want, u.dir)
			if st := u.stat(t, "holes"); st.Size != 1<<20 || st.Blocks*512 > 128<<10 {
				t.Errorf("the file with holes has %d bytes and takes %d", st.Size, st.Blocks*512)
			}
		})
	}
}

// compareTrees fails for each difference but that of access times and inode numbers.
func compareTrees(t *testing.T, want, got string) {
	t.Helper()
	if a, b := names(t, want), names(t, got); a != b {
		t.Fatalf("names differ:\nwant %s\ngot  %s", a, b)
	}
	for _, name := range strings.Fields(names(t, want)) {
		name = name[1:]
		var a, b unix.Stat_t
		if err := errors.Join(unix.Lstat(filepath.Join(want, name), &a), unix.Lstat(filepath.Join(got, name), &b)); err != nil {
			t.Fatal(err)
		}
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev || a.Nlink != b.Nlink || a.Mtim != b.Mtim {
			t.Errorf("%s: %+v, want %+v", name, b, a)
		}
		switch a.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			x, xerr := os.ReadFile(filepath.Join(want, name))
			y, yerr := os.ReadFile(filepath.Join(got, name))
			if xerr != nil || yerr != nil || !bytes.Equal(x, y) {
				t.Errorf("%s: content differs: %v, %v", name, xerr, yerr)
			}
		case unix.S_IFLNK:
			x, _ := os.Readlink(filepath.Join(want, name))
			if y, _ := os.Readlink(filepath.Join(got, name)); x != y {
				t.Errorf("%s -> %s, want %s", name, y, x)
			}
		}
	}
}

func TestOwnersAreMapped(t *testing.T) {
	testenv.Need(t, testenv.Root)
	errNone := errors.New("no such ID")
	o := Options{Owner: func(uid, gid uint32) (int, int, error) {
		if uid > 65535 {
			return 0, 0, errNone
		}
		return int(uid) + 100000, int(gid) + 200000, nil
	}}
	u := mustUnpack(t, pack(t,
		file("a/f", "x").with(func(h *tar.Header) { h.Uid, h.Gid = 5, 6 }), symlink("a/l", "f"),
	), o)
	for name, want := range map[string][2]uint32{"a/f": {100005, 200006}, "a": {100000, 200000}, "a/l": {100000, 200000}, ".": {100000, 200000}} {
		if st := u.stat(t, name); st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s is of %d:%d, want %v", name, st.Uid, st.Gid, want)
		}
	}
	if e := u.entries["a/f"]; e.UID != 5 || e.GID != 6 {
		t.Errorf("recorded %v", e)
	}
	if _, err := unpack(t, pack(t, file("f", "").with(func(h *tar.Header) { h.Uid = 65536 })), o); !errors.Is(err, errNone) {
		t.Errorf("an owner that is not mapped: %v", err)
	}
}

func TestImpliedFoldersTakeAfterTheirParents(t *testing.T) {
	testenv.Need(t, testenv.Root)
	below := map[string]Entry{
		"var":     {Path: "var", Kind: Dir, Mode: 0o711, UID: 5, GID: 6, ModTime: noon.Add(time.Hour)},
		"var/tmp": {Path: "var/tmp", Kind: Dir, Mode: 0o1777, Xattrs: map[string]string{"user.a": "b"}, ModTime: noon},
	}
	u := mustUnpack(t, pack(t, file("var/tmp/new/f", "x"), folderItem("given", 0o700), file("given/f", "")), Options{
		Parents: func(path string) (Entry, bool) { e, ok := below[path]; return e, ok },
	})
	if st := u.stat(t, "var"); st.Mode&0o7777 != 0o711 || st.Uid != 5 || st.Gid != 6 || st.Mtim.Sec != noon.Add(time.Hour).Unix() {
		t.Errorf("var: %+v", st)
	}
	if st := u.stat(t, "var/tmp"); st.Mode&0o7777 != 0o1777 {
		t.Errorf("var/tmp: mode %o", st.Mode)
	}
	if got, _ := xattr(t, u.path("var/tmp"), "user.a"); got != "b" {
		t.Errorf("var/tmp: attribute %q", got)
	}
	if st := u.stat(t, "var/tmp/new"); st.Mode&0o7777 != ImpliedMode || time.Unix(st.Mtim.Unix()).Compare(noon) != 0 {
		t.Errorf("var/tmp/new: mode %o, time %v", st.Mode, st.Mtim)
	}
	if st := u.stat(t, "given"); st.Mode&0o7777 != 0o700 {
		t.Errorf("given: mode %o", st.Mode)
	}
}

func TestFolderTwiceIsTheLast(t *testing.T) {
	testenv.Need(t, testenv.Root)
	u := mustUnpack(t, pack(t, file("d/f", "x"), folderItem("d", 0o700), folderItem("./d", 0o751)), Options{})
	if st := u.stat(t, "d"); st.Mode&0o7777 != 0o751 {
		t.Errorf("mode %o", st.Mode)
	}
	if u.entries["d"].Implied {
		t.Error("it has an entry and counts as implied")
	}
}

// A symbolic link that stays in the layer may stand for a folder, as it does for the programs in the container.
func TestSymbolicLinksInsideAreFollowed(t *testing.T) {
	testenv.Need(t, testenv.Root)
	u := mustUnpack(t, pack(t,
		folderItem("usr/lib", 0o755), symlink("lib", "usr/lib"), symlink("usr/up", "../usr/./lib"),
		file("lib/a", "a"), file("usr/up/b", "b"), file("lib/new/c", "c"), hardLink("lib/d", "usr/up/b"),
	), Options{})
	if got, want := names(t, u.dir), "d. Llib dusr dusr/lib -usr/lib/a -usr/lib/b -usr/lib/d dusr/lib/new -usr/lib/new/c Lusr/up"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if e := u.entries["usr/lib/d"]; e.Kind != HardLink || e.Link != "usr/lib/b" {
		t.Errorf("recorded %v", e)
	}
}

func TestZerosBecomeHoles(t *testing.T) {
	testenv.Need(t, testenv.Root)
	zero := strings.Repeat("\x00", 8<<20)
	u := mustUnpack(t, pack(t, file("zeros", zero), file("ends", "abc"+zero), file("begins", zero+"abc"), file("small", zero[:1000])), Options{})
	for name, want := range map[string]string{"zeros": zero, "ends": "abc" + zero, "begins": zero + "abc", "small": zero[:1000]} {
		got, err := os.ReadFile(u.path(name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
		if st := u.stat(t, name); st.Blocks*512 > 256<<10 {
			t.Errorf("%s takes %d bytes of the disk", name, st.Blocks*512)
		}
	}
	if u.Bytes != 3*8<<20+1006 || u.Disk > 1<<20 {
		t.Errorf("%d bytes, %d of the disk", u.Bytes, u.Disk)
	}
}

func TestAttributesThatAreNotForImages(t *testing.T) {
	testenv.Need(t, testenv.Root)
	records := map[string]string{
		"SCHILY.xattr.trusted.overlay.redirect": "/etc",
		"SCHILY.xattr.user.overlay.redirect":    "/etc",
		"SCHILY.xattr.security.selinux":         "x",
		"SCHILY.xattr.user.fine":                "y",
	}
	archive := pack(t, folderItem("d", 0o755).with(func(h *tar.Header) { h.PAXRecords = records }))
	u := mustUnpack(t, archive, Options{})
	for name, want := range map[string]string{
		"trusted.overlay.redirect": "", "user.overlay.redirect": "", "security.selinux": "",
		"user.fine": "y", "trusted.overlay.overlay.redirect": "/etc", "user.overlay.overlay.redirect": "",
	} {
		if got, _ := xattr(t, u.path("d"), name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if u.Skipped != 2 {
		t.Errorf("skipped %d: %v", u.Skipped, u.Examples)
	}
	u = mustUnpack(t, archive, Options{UserXattr: true})
	for name, want := range map[string]string{
		"trusted.overlay.redirect": "", "user.overlay.redirect": "", "user.fine": "y",
		"trusted.overlay.overlay.redirect": "", "user.overlay.overlay.redirect": "/etc",
	} {
		if got, _ := xattr(t, u.path("d"), name); got != want {
			t.Errorf("user: %s = %q, want %q", name, got, want)
		}
	}
}

func TestDevices(t *testing.T) {
	testenv.Need(t, testenv.Root)
	archive := pack(t, file("f", "x"), item{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev/sda", Devmajor: 8}})
	if _, err := unpack(t, archive, Options{Devices: RefuseDevices}); !errors.Is(err, ErrDevice) {
		t.Errorf("refused: %v", err)
	}
	u := mustUnpack(t, archive, Options{Devices: SkipDevices})
	if got, want := names(t, u.dir), "d. -f"; got != want || u.Skipped != 1 {
		t.Errorf("skipped %d, %s", u.Skipped, got)
	}
	u = mustUnpack(t, pack(t, file("d/.wh.x", "")), Options{Devices: RefuseDevices}) // a whiteout is no device
	if st := u.stat(t, "d/x"); st.Mode&unix.S_IFMT != unix.S_IFCHR {
		t.Errorf("mode %o", st.Mode)
	}
}
