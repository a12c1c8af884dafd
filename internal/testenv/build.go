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

// Tandem returns the path of a static tandem executable made from this tree.
func Tandem(t testing.TB) string {
	t.Helper()
	path, err := builtTandem()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// builtTandem builds into the tree's bin folder, as make does: a path that stays the same keeps caches warm that go by
// it, and go build touches nothing if nothing changed.
var builtTandem = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(TandemVariable); path != "" {
		return path, nil
	}
	root, err := treeRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "tandem")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/tandem")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tandem: %w\n%s", err, out)
	}
	return path, nil
})

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
