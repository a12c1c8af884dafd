package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzUnpack unpacks anything, and looks whether something is outside the folder that was not, or inside that was not
// told of.
func FuzzUnpack(f *testing.F) {
	for _, items := range [][]item{
		{folderItem("etc", 0o755), file("etc/hosts", "127.0.0.1"), symlink("lib", "usr/lib"), hardLink("same", "etc/hosts")},
		{file(".wh.a", ""), file("d/.wh..wh..opq", ""), file("d/n", "x"), folderItem("d", 0o700)},
		{symlink("l", "../.."), file("l/evil", "x")},
		{symlink("a", "/"), folderItem("a/b", 0o755), hardLink("x", "a/etc/passwd")},
		{file("noted", "").with(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} })},
		{{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "p"}}, {Header: tar.Header{Typeflag: tar.TypeChar, Name: "c"}}},
	} {
		f.Add(pack(f, items...))
	}
	for _, archive := range tarArchives(f) {
		f.Add(archive)
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		top := t.TempDir()
		in := filepath.Join(top, "in")
		if err := errors.Join(os.Mkdir(in, 0o700), os.WriteFile(filepath.Join(top, "victim"), []byte("safe"), 0o600)); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(in)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		told := map[string]bool{}
		_, err = Unpack(context.Background(), dir, bytes.NewReader(archive), Options{
			Limits:    Limits{Bytes: 1 << 20, Entries: 100},
			Devices:   SkipDevices,
			UserXattr: os.Geteuid() != 0,
			Owner:     func(uint32, uint32) (int, int, error) { return os.Geteuid(), os.Getegid(), nil },
			Record: func(e Entry) error {
				told[e.Path] = true
				back, err := ParseEntry(string(e.AppendText(nil)))
				if err != nil || string(back.AppendText(nil)) != string(e.AppendText(nil)) {
					t.Errorf("%v is %v after its text: %v", e, back, err)
				}
				return nil
			},
		})
		if err := filepath.WalkDir(in, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = os.Chmod(path, 0o700) // so that the test can look, and remove it
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(strings.ReplaceAll(names(t, top), " ", "\n"))
		for _, name := range got {
			if name != "d." && name != "din" && name != "-victim" && !strings.HasPrefix(name[1:], "in/") && !strings.Contains(string(archive), name) {
				t.Errorf("outside: %q", name)
			}
		}
		if safe, err := os.ReadFile(filepath.Join(top, "victim")); string(safe) != "safe" {
			t.Errorf("the victim has %q, %v", safe, err)
		}
		if err != nil {
			return
		}
		e := filepath.WalkDir(in, func(path string, _ os.DirEntry, err error) error {
			if name, _ := filepath.Rel(in, path); !told[name] {
				t.Errorf("%q was made and not recorded", name)
			}
			return err
		})
		if e != nil {
			t.Fatal(e)
		}
	})
}

// tarArchives gives what the tar program writes in each of its formats.
func tarArchives(f *testing.F) [][]byte {
	source := f.TempDir()
	long := filepath.Join(source, strings.Repeat("d", 120), strings.Repeat("f", 150))
	err := errors.Join(
		os.Mkdir(filepath.Dir(long), 0o755), os.WriteFile(long, []byte("x"), 0o640),
		os.WriteFile(filepath.Join(source, "short"), []byte("abc"), 0o755), os.Link(long, filepath.Join(source, "link")),
		os.Symlink("short", filepath.Join(source, "symlink")),
		os.WriteFile(filepath.Join(source, "sparse"), nil, 0o600), os.Truncate(filepath.Join(source, "sparse"), 100_000),
		os.Chtimes(long, time.Unix(1e9, 5e8), time.Unix(1e9, 5e8)),
	)
	if err != nil {
		f.Fatal(err)
	}
	var archives [][]byte
	for _, arguments := range []string{"--format=gnu", "--format=posix", "--format=gnu --sparse", "--format=posix --sparse", "--format=posix --sparse --sparse-version=0.0"} {
		archive, err := exec.Command("tar", append(strings.Fields(arguments), "-b1", "-C", source, "-c", ".")...).Output()
		if err != nil {
			f.Fatal(err)
		}
		archives = append(archives, archive)
	}
	return archives
}

func FuzzParseEntry(f *testing.F) {
	for _, e := range []Entry{
		{Kind: File, Path: "a b\n\xff", Size: 5, Mode: 0o4755, UID: 1, GID: 4294967294, ModTime: noon},
		{Kind: Dir, Path: ".", Opaque: true, Implied: true, Xattrs: map[string]string{"user.a": "\x00", "b": ""}},
		{Kind: Char, Path: "dev/null", Major: 1, Minor: 3},
		{Kind: Symlink, Path: "l", Link: "/etc \"x\""},
		{Kind: Block, Path: "dev/x", Major: 1, Minor: 3, Xattrs: map[string]string{"a": "b"}},
	} {
		f.Add(string(e.AppendText(nil)))
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, err := ParseEntry(line)
		if err != nil {
			return
		}
		text := e.AppendText(nil)
		back, err := ParseEntry(string(text))
		if err != nil || !bytes.Equal(back.AppendText(nil), text) {
			t.Errorf("%q gives %v, then %q, then %v, %v", line, e, text, back, err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, name := range []string{"a/b", "./a//b/", "../x", "/", ".wh.x", "d/.wh..wh..opq", ".wh..wh.plnk/f", "a/.wh...", ".wh.d/x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path, err := cleanName(name)
		if err != nil {
			return
		}
		if path != "." && (path == "" || path[0] == '/' || strings.HasSuffix(path, "/")) {
			t.Errorf("%q is clean as %q", name, path)
		}
		for part := range strings.SplitSeq(path, "/") {
			if path != "." && (part == "" || part == "." || part == ".." || len(part) > maxName) {
				t.Errorf("%q is clean as %q", name, path)
			}
		}
		if again, err := cleanName(path); again != path || err != nil {
			t.Errorf("%q is clean as %q, and that as %q, %v", name, path, again, err)
		}
		if what, means, err := readName(path); err == nil && what != nothing {
			if same, err := cleanName(means); err != nil || same != means {
				t.Errorf("%q means %q: %v", path, means, err)
			}
		}
	})
}
