package cp

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLinksStayInside has the container's links lead wherever they like: it is always within the container.
func TestLinksStayInside(t *testing.T) {
	s := newSides(t)
	s.write(s.host+"/secret", "host's")
	s.write(s.root+"/inside/plain", "box's")
	up := strings.Repeat("../", 40)
	for name, to := range map[string]string{
		"absolute": s.host, "upwards": up + s.host[1:], "file": s.host + "/secret", "top": "/", "dots": "..", "loop": "loop",
	} {
		s.link(to, s.root+"/"+name)
	}
	for _, path := range []string{"absolute/secret", "upwards/secret", "file", "top/" + s.host + "/secret", up + s.host + "/secret", "loop/x"} {
		if err := s.copy(s.box, path, Place{}, s.host+"/out", true); err == nil {
			t.Errorf("out of %s came something", path)
		}
		s.missing(s.host + "/out")
		if err := s.in(s.host+"/secret", path+"/planted"); err == nil {
			t.Errorf("something went into %s", path)
		}
	}
	s.check(s.out("dots/top/"+up+"inside/plain", s.host+"/out"))
	s.reads(s.host+"/out", "box's")
	if entries, err := os.ReadDir(s.host); err != nil || len(entries) != 2 {
		t.Errorf("the host's folder has %v, %v", entries, err)
	}
	// The same place by the container's own links is its own.
	s.check(os.MkdirAll(s.root+s.host, 0o755))
	s.check(s.in(s.host+"/secret", "absolute/planted"))
	s.reads(s.root+s.host+"/planted", "host's")
	s.missing(s.host + "/planted")
}

// swap exchanges two names for as long as the test goes on: it is what CVE-2018-15664's exploit does.
func (s *sides) swap(a, b string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// races is how often each is tried. The exploit of CVE-2018-15664 needed some dozens.
const races = 1000

// TestRaces puts links in the place of folders while files are copied.
func TestRaces(t *testing.T) {
	s := newSides(t)
	s.write(s.host+"/outside/file", "host's")
	s.write(s.host+"/new/file", "new")
	s.check(os.Mkdir(s.host+"/to", 0o755))
	s.write(s.root+"/way/dir/file", "box's")
	s.link(s.host+"/outside", s.root+"/way/link")
	s.write(s.root+"/way/b/dir/file", "box's")
	s.link("../../../../host/outside", s.root+"/way/b/link")
	for _, folder := range []string{"/way", "/way/b"} {
		stop := s.swap(s.root+folder+"/dir", s.root+folder+"/link")
		reached := 0
		for i := range races {
			target := s.host + "/to/out"
			switch err := s.copy(s.box, folder+"/dir/file", Place{}, target, true); {
			case err == nil:
				s.reads(target, "box's")
				reached++
			case !errors.Is(err, unix.ENOENT):
				t.Errorf("out: %v", err)
			}
			s.check(os.RemoveAll(target))
			// The whole tree: links come out as links.
			if i%20 == 0 {
				if err := s.out(folder, target); err != nil {
					t.Errorf("the tree: %v", err)
				}
				s.check(filepath.WalkDir(target, func(path string, d os.DirEntry, err error) error {
					if err == nil && d.Type().IsRegular() {
						s.reads(path, "box's")
					}
					return err
				}))
				s.check(os.RemoveAll(target))
			}
		}
		for range races {
			for _, in := range []func() error{
				func() error { return s.in(s.host+"/new/file", folder+"/dir/file") },
				func() error { return s.in(s.host+"/new", folder+"/dir") },
				func() error { return s.in(s.host+"/new/.", folder+"/dir") },
			} {
				if err := in(); err == nil {
					reached++
				}
			}
			if t.Failed() {
				break
			}
		}
		stop()
		if reached < races/10 {
			t.Errorf("%d copies came through: the race was not tried", reached)
		}
	}
	s.reads(s.host+"/outside/file", "host's")
	if entries, err := os.ReadDir(s.host + "/outside"); err != nil || len(entries) != 1 {
		t.Errorf("the host's folder has %v, %v", entries, err)
	}
}

// TestPackRace puts a FIFO, which would hold us up for ever, in the place of a file while a tree is read.
func TestPackRace(t *testing.T) {
	s := newSides(t)
	s.write(s.root+"/dir/file", "text")
	s.check(unix.Mkfifo(s.root+"/dir/fifo", 0o644))
	stop := s.swap(s.root+"/dir/file", s.root+"/dir/fifo")
	defer stop()
	for range races / 4 {
		s.check(s.out("/dir", s.host))
		s.check(os.RemoveAll(s.host + "/dir"))
	}
}

// archive makes one of entries that no tree would give.
func archiveOf(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeReg {
			h.Size = 3
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("bad")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostileArchives are what a container could have somebody copy, and an archive may say by itself.
func hostileArchives(t testing.TB, outside string) map[string][]byte {
	file, link := byte(tar.TypeReg), byte(tar.TypeSymlink)
	return map[string][]byte{
		"upwards":               archiveOf(t, tar.Header{Name: "../planted", Typeflag: file}),
		"upwards, in the midst": archiveOf(t, tar.Header{Name: "a/../../planted", Typeflag: file}),
		"through a link":        archiveOf(t, tar.Header{Name: "a", Typeflag: link, Linkname: outside}, tar.Header{Name: "a/planted", Typeflag: file}),
		"through a link upwards": archiveOf(t, tar.Header{Name: "a", Typeflag: link, Linkname: ".."},
			tar.Header{Name: "a/outside/planted", Typeflag: file}),
		"onto a link":   archiveOf(t, tar.Header{Name: "a", Typeflag: link, Linkname: outside + "/file"}, tar.Header{Name: "a", Typeflag: file}),
		"a link's name": archiveOf(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "../outside/file"}, tar.Header{Name: "a", Typeflag: file}),
		"a link's name through a link": archiveOf(t, tar.Header{Name: "l", Typeflag: link, Linkname: outside},
			tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "l/file"}, tar.Header{Name: "a", Typeflag: file}),
		"a folder on a link": archiveOf(t, tar.Header{Name: "a", Typeflag: link, Linkname: outside}, tar.Header{Name: "a/", Typeflag: tar.TypeDir}),
		"a device":           archiveOf(t, tar.Header{Name: "a", Typeflag: tar.TypeBlock, Devmajor: 7}),
		"nothing":            {},
	}
}

func TestHostileArchives(t *testing.T) {
	for _, inBox := range []bool{false, true} {
		base := newSides(t)
		for name, text := range hostileArchives(t, filepath.Join(base.host, "outside")) {
			s := newSides(t)
			s.host, s.root = base.host, base.root // the links name it
			s.write(base.host+"/outside/file", "host's")
			into := Place{}
			path := base.host + "/into"
			if inBox {
				into, path = base.box, "/into"
				s.check(os.MkdirAll(base.root+path, 0o755))
			} else {
				s.check(os.MkdirAll(path, 0o755))
			}
			dst, err := into.Target(path, nil)
			s.check(err)
			err = dst.Unpack(bytes.NewReader(text), UnpackOptions{})
			t.Logf("%s: %v", name, err)
			dst.Close()
			s.reads(base.host+"/outside/file", "host's")
			s.missing(base.host + "/planted")
			s.missing(base.host + "/outside/planted")
			s.missing(base.root + "/planted")
			if strings.HasPrefix(name, "upwards") && !errors.Is(err, ErrEscape) {
				t.Errorf("%s: %v, want %v", name, err, ErrEscape)
			}
			if name == "a device" && err != nil {
				t.Errorf("a device: %v, want it left out", err)
			}
			s.check(os.RemoveAll(base.host + "/into"))
			s.check(os.RemoveAll(base.root + "/into"))
		}
	}
}

// TestDeep refuses what would take more descriptors than there are, and says so.
func TestDeep(t *testing.T) {
	s := newSides(t)
	dir, err := os.Open(s.root)
	s.check(err)
	for range maxDepth + 10 {
		s.check(unix.Mkdirat(int(dir.Fd()), "d", 0o755))
		next, err := openat2(int(dir.Fd()), "d", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY})
		s.check(err)
		dir.Close()
		dir = next
	}
	dir.Close()
	if err := s.out("/d", s.host); !errors.Is(err, ErrTooDeep) {
		t.Errorf("%v, want %v", err, ErrTooDeep)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, text := range hostileArchives(f, "/nowhere") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/a/into", 0o755); err != nil {
			t.Fatal(err)
		}
		dst, err := Place{}.Target(dir+"/a/into", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		_ = dst.Unpack(bytes.NewReader(text), UnpackOptions{Owner: &[2]int{os.Getuid(), os.Getgid()}})
		for _, path := range []string{dir, dir + "/a"} {
			if entries, err := os.ReadDir(path); err != nil || len(entries) != 1 {
				t.Errorf("%s has %v, %v", path, entries, err)
			}
		}
	})
}
