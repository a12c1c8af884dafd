package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TandemVariable names the executable that tests run as tandem. The runner sets it, so that it is built once, and
// not at all in the lab.
const TandemVariable = "TANDEM_BIN"

// LessonsVariable names a folder with the programs of examples. The runner sets it in the lab, which is slow to build them.
const LessonsVariable = "TANDEM_LESSONS"

// Tandem returns the path of a static tandem executable made from this tree.
func Tandem(t testing.TB) string { return built(t, builtTandem) }

// TandemOCI returns the path of a static tandem-oci executable made from this tree.
func TandemOCI(t testing.TB) string { return built(t, builtTandemOCI) }

var (
	builtTandem    = sync.OnceValues(func() (string, error) { return build("tandem") })
	builtTandemOCI = sync.OnceValues(func() (string, error) { return build("tandem-oci") })
)

func built(t testing.TB, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build makes a command into the tree's bin folder, as make does: a path that stays the same keeps caches warm that go
// by it, and go build touches nothing if nothing changed. Commands that the runner has built lie side by side.
func build(name string) (string, error) {
	if path := os.Getenv(TandemVariable); path != "" {
		return filepath.Join(filepath.Dir(path), name), nil
	}
	root, err := treeRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/"+name)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// Tree returns the root folder of this source tree.
func Tree(t testing.TB) string {
	t.Helper()
	root, err := treeRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// treeRoot walks up from the package's folder, which is where go test starts a test.
func treeRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("testenv: no go.mod above the working directory")
		}
		dir = parent
	}
}
