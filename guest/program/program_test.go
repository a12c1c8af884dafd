package program

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{
		"one/tool": 0o755, "two/tool": 0o755, "plain/tool": 0o644, "plain/other": 0o644, "here": 0o755, "one/folder/x": 0o644,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	in := func(names ...string) string {
		path := ""
		for i, name := range names {
			if i > 0 {
				path += ":"
			}
			path += filepath.Join(dir, name)
		}
		return "PATH=" + path
	}
	for _, test := range []struct {
		name, env string
		want      string
		err       error
	}{
		{"tool", in("one", "two"), dir + "/one/tool", nil},
		{"tool", in("two", "one"), dir + "/two/tool", nil},
		{"tool", in("missing", "plain", "two"), dir + "/two/tool", nil},
		{"tool", in("plain"), "", ErrNotExecutable},
		{"other", in("one", "plain", "two"), "", ErrNotExecutable},
		{"folder", in("one"), "", ErrNotExecutable},
		{"nothing", in("one", "two"), "", ErrNotFound},
		{"nothing", "PATH=", "", ErrNotFound},
		{"tool", "PATH=one", "one/tool", nil}, // relative to dir
		{"here", "PATH=:" + dir + "/one", "./here", nil},
		{"here", "PATH=.", "./here", nil},
		{"here", in("one"), "", ErrNotFound},
		{"one/tool", "", "one/tool", nil},
		{"./here", "", "./here", nil},
		{dir + "/here", "", dir + "/here", nil},
		{"one/folder", "", "one/folder", ErrNotExecutable},
		{"no/tool", "", "no/tool", ErrNotFound},
		{"here/tool", "", "here/tool", ErrNotFound},
		{"sh", "NOPATH=x", "", nil}, // the default path has one, wherever
	} {
		got, err := Find(test.name, []string{test.env}, dir)
		if !errors.Is(err, test.err) || test.err == nil && err != nil || test.want != "" && got != test.want {
			t.Errorf("Find(%q, %q) = %q, %v, want %q, %v", test.name, test.env, got, err, test.want, test.err)
		}
	}
	if !errors.Is(ErrNotFound, exec.ErrNotFound) {
		t.Errorf("%v is not os/exec's", ErrNotFound)
	}
}

func TestStartError(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{unix.ENOENT, true},
		{unix.EACCES, true},
		{unix.ENOEXEC, true},
		{unix.ETXTBSY, true},
		{unix.EAGAIN, false},
		{unix.ENOMEM, false},
	} {
		if got := StartError(test.err); errors.Is(got, ErrNotExecutable) != test.want {
			t.Errorf("StartError(%v) = %v", test.err, got)
		}
	}
}

func TestEnviron(t *testing.T) {
	for _, test := range []struct{ layers, want []string }{
		{nil, nil},
		{[]string{"A=1", "B=2", "A=3"}, []string{"A=3", "B=2"}},
		{[]string{"A=1", "AA=2", "A="}, []string{"A=", "AA=2"}},
		{[]string{"bare", "=x", "bare", "A=b=c"}, []string{"bare", "=x", "bare", "A=b=c"}},
	} {
		if got := Environ(test.layers); !slices.Equal(got, test.want) {
			t.Errorf("Environ(%q) = %q, want %q", test.layers, got, test.want)
		}
		var layers [][]string
		for _, pair := range test.layers {
			layers = append(layers, []string{pair})
		}
		if got := Environ(layers...); !slices.Equal(got, test.want) {
			t.Errorf("Environ(%q) = %q, want %q", layers, got, test.want)
		}
	}
}

func TestGetenv(t *testing.T) {
	env := []string{"PATHS=1", "PATH=a=b", "EMPTY="}
	for name, want := range map[string]string{"PATH": "a=b", "EMPTY": "", "PATHS": "1"} {
		if got, ok := Getenv(env, name); !ok || got != want {
			t.Errorf("Getenv(%s) = %q, %v, want %q", name, got, ok, want)
		}
	}
	if got, ok := Getenv(env, "PAT"); ok {
		t.Errorf("Getenv(PAT) = %q", got)
	}
}
