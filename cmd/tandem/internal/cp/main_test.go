package cp

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// sides are a container's root, and beside it what is the host's and nobody's business in there.
type sides struct {
	t          *testing.T
	root, host string
	box        Place
}

func newSides(t *testing.T) *sides {
	t.Helper()
	dir := t.TempDir()
	s := &sides{t: t, root: filepath.Join(dir, "root"), host: filepath.Join(dir, "host")}
	for _, path := range []string{s.root, s.host} {
		s.check(os.Mkdir(path, 0o755))
	}
	root, err := os.Open(s.root)
	s.check(err)
	t.Cleanup(func() { root.Close() })
	s.box = Place{Root: root}
	return s
}

func (s *sides) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// write makes a file with the folders above it.
func (s *sides) write(path, text string) {
	s.t.Helper()
	s.check(os.MkdirAll(filepath.Dir(path), 0o755))
	s.check(os.WriteFile(path, []byte(text), 0o644))
}

func (s *sides) link(to, path string) {
	s.t.Helper()
	s.check(os.MkdirAll(filepath.Dir(path), 0o755))
	s.check(os.Symlink(to, path))
}

// copy copies as `tandem cp` does.
func (s *sides) copy(from Place, source string, to Place, target string, follow bool) error {
	src, err := from.Open(source, follow)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := to.Target(target, src)
	if err != nil {
		return err
	}
	defer dst.Close()
	return Copy(dst, src, PackOptions{Warn: s.t.Logf}, UnpackOptions{Warn: s.t.Logf})
}

func (s *sides) out(source, target string) error {
	return s.copy(s.box, source, Place{}, target, false)
}

func (s *sides) in(source, target string) error { return s.copy(Place{}, source, s.box, target, false) }

// reads wants a file's contents.
func (s *sides) reads(path, want string) {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want {
		s.t.Errorf("%s: %q, %v, want %q", path, text, err, want)
	}
}

func (s *sides) missing(path string) {
	s.t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		s.t.Errorf("there is %s, %v", path, err)
	}
}
