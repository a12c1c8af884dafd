package cp

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRules are docker's, in both directions.
func TestRules(t *testing.T) {
	for _, test := range []struct {
		source, target string
		want           string // what there is then
		err            error
	}{
		{"file", "new", "new", nil},
		{"file", "new/", "", ErrNoFolder},
		{"file", "no/new", "", ErrNoFolder},
		{"file", "there", "there", nil},
		{"file", "there/", "", unix.ENOTDIR},
		{"file", "folder", "folder/file", nil},
		{"file", "folder/", "folder/file", nil},
		{"file", "link", "there", nil}, // what it leads to is written over
		{"file", "dangling", "dangling", nil},
		{"dir", "new", "new/deep/x", nil},
		{"dir", "new/", "new/deep/x", nil},
		{"dir", "folder", "folder/dir/deep/x", nil},
		{"dir/", "folder", "folder/dir/deep/x", nil},
		{"dir/.", "folder", "folder/deep/x", nil},
		{"dir/.", "new", "new/deep/x", nil},
		{"dir", "there", "", ErrFolderOnFile},
		{"dir", "no/new", "", ErrNoFolder},
		{"nothing", "new", "", unix.ENOENT},
		{"file/", "new", "", unix.ENOTDIR},
	} {
		for _, out := range []bool{true, false} {
			s := newSides(t)
			from, to, move := s.root, s.host, func() error { return s.out("/"+test.source, s.host+"/"+test.target) }
			if !out {
				from, to, move = s.host, s.root, func() error { return s.in(s.host+"/"+test.source, test.target) }
			}
			s.write(from+"/file", "new")
			s.write(from+"/dir/deep/x", "new")
			s.write(to+"/there", "old")
			s.write(to+"/folder/old", "old")
			s.link("there", to+"/link")
			s.link("nowhere", to+"/dangling")
			err := move()
			if !errors.Is(err, test.err) || test.err == nil && err != nil {
				t.Errorf("%s to %s: %v, want %v", test.source, test.target, err, test.err)
				continue
			}
			s.reads(to+"/folder/old", "old")
			if test.want != "" {
				s.reads(filepath.Join(to, test.want), "new")
			}
		}
	}
}

// TestKept copies all that a tree may have, there and back.
func TestKept(t *testing.T) {
	s := newSides(t)
	at := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	tree := s.root + "/tree"
	s.write(tree+"/a", "text")
	s.check(os.Link(tree+"/a", tree+"/b"))
	s.link("a", tree+"/l")
	s.check(unix.Mkfifo(tree+"/fifo", 0o600))
	note := "x\x00y"
	if err := unix.Setxattr(tree+"/a", "user.note", []byte(note), 0); errors.Is(err, unix.ENOTSUP) {
		note = "" // a tmpfs before Linux 6.6
	} else {
		s.check(err)
	}
	s.check(os.Chmod(tree+"/a", 0o755|os.ModeSetuid))
	s.check(os.Mkdir(tree+"/shut", 0o755))
	s.write(tree+"/shut/in", "")
	s.check(os.Chmod(tree+"/shut", 0o500))
	t.Cleanup(func() { // who is not root cannot remove what is in there
		for _, path := range []string{tree + "/shut", s.host + "/tree/shut", s.host + "/kept/shut"} {
			_ = os.Chmod(path, 0o700)
		}
	})
	for _, name := range []string{"/a", "/shut", ""} {
		s.check(os.Chtimes(tree+name, at, at))
	}
	s.check(s.out("tree", s.host))
	src, err := s.box.Open("tree", false)
	s.check(err)
	defer src.Close()
	dst, err := Place{}.Target(s.host+"/kept", src)
	s.check(err)
	defer dst.Close()
	s.check(Copy(dst, src, PackOptions{Xattrs: true}, UnpackOptions{Archive: true}))
	for _, test := range []struct {
		name string
		mode os.FileMode
		note string
	}{{"tree", 0o755, ""}, {"kept", 0o755 | os.ModeSetuid, note}} {
		path := filepath.Join(s.host, test.name)
		info, err := os.Stat(path + "/a")
		s.check(err)
		if info.Mode() != test.mode || !info.ModTime().Equal(at) {
			t.Errorf("%s/a: %v, %v, want %v, %v", test.name, info.Mode(), info.ModTime(), test.mode, at)
		}
		if other, err := os.Stat(path + "/b"); err != nil || !os.SameFile(info, other) {
			t.Errorf("%s: a and b were one file: %v", test.name, err)
		}
		value := make([]byte, 10)
		n, _ := unix.Getxattr(path+"/a", "user.note", value)
		if string(value[:max(n, 0)]) != test.note {
			t.Errorf("%s/a has the note %q, want %q", test.name, value[:max(n, 0)], test.note)
		}
		if to, err := os.Readlink(path + "/l"); err != nil || to != "a" {
			t.Errorf("%s/l leads to %q, %v", test.name, to, err)
		}
		if info, err := os.Lstat(path + "/fifo"); err != nil || info.Mode() != os.ModeNamedPipe|0o600 {
			t.Errorf("%s/fifo: %v, %v", test.name, info, err)
		}
		for _, folder := range []string{"/shut", ""} {
			if info, err := os.Stat(path + folder); err != nil || !info.ModTime().Equal(at) || folder != "" && info.Mode().Perm() != 0o500 {
				t.Errorf("%s%s: %v, %v", test.name, folder, info.Mode(), info.ModTime())
			}
		}
	}
}

func TestFollow(t *testing.T) {
	s := newSides(t)
	s.write(s.root+"/dir/file", "text")
	s.link("/dir/file", s.root+"/link")
	s.check(s.copy(s.box, "link", Place{}, s.host+"/followed", true))
	s.reads(s.host+"/followed", "text")
	s.check(s.out("link", s.host+"/kept"))
	if to, err := os.Readlink(s.host + "/kept"); err != nil || to != "/dir/file" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
}

// TestRunningProgram writes over a program that somebody executes, which the kernel refuses (ETXTBSY): it is replaced.
func TestRunningProgram(t *testing.T) {
	s := newSides(t)
	sleep, err := exec.LookPath("sleep")
	s.check(err)
	text, err := os.ReadFile(sleep)
	s.check(err)
	s.write(s.host+"/program", "new")
	s.write(s.root+"/bin/program", string(text))
	s.check(os.Chmod(s.root+"/bin/program", 0o755))
	cmd := exec.Command(s.root+"/bin/program", "1000")
	cmd.Args[0] = "sleep"
	s.check(cmd.Start())
	s.check(s.in(s.host+"/program", "/bin"))
	s.reads(s.root+"/bin/program", "new")
	s.check(cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
}

func TestStream(t *testing.T) {
	s := newSides(t)
	s.write(s.root+"/dir/file", "text")
	src, err := s.box.Open("/dir", false)
	s.check(err)
	defer src.Close()
	var archive bytes.Buffer
	s.check(Pack(&archive, src, src.Base(), PackOptions{}))
	var names []string
	for r := tar.NewReader(bytes.NewReader(archive.Bytes())); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		s.check(err)
		names = append(names, h.Name)
	}
	if len(names) != 2 || names[0] != "dir/" || names[1] != "dir/file" {
		t.Errorf("the archive has %q", names)
	}
	s.check(os.Mkdir(s.root+"/to", 0o755))
	dst, err := s.box.Target("/to", nil)
	s.check(err)
	defer dst.Close()
	s.check(dst.Unpack(&archive, UnpackOptions{}))
	s.reads(s.root+"/to/dir/file", "text")
	if _, err := s.box.Target("/nowhere", nil); !errors.Is(err, ErrNoFolder) {
		t.Errorf("an archive to nowhere: %v", err)
	}
	if err := dst.Unpack(bytes.NewReader(make([]byte, 100)), UnpackOptions{}); err == nil {
		t.Error("100 bytes are no archive")
	}
}
