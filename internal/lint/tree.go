package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// module is the path that packages of this tree begin with.
const module = "tandem"

// Package is what `go list -json` tells of a package.
type Package struct {
	Dir, ImportPath, Name string

	GoFiles, CgoFiles, IgnoredGoFiles  []string
	TestGoFiles, XTestGoFiles          []string
	Imports, TestImports, XTestImports []string
}

// Folder is the package's place in the tree, such as "virtio/blk".
func (p Package) Folder() string { return folder(p.ImportPath) }

// folder strips the module's path, and is empty for a package of another module.
func folder(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return rest
}

// ListPackages gives the packages of the tree at root, those that do not compile included.
func ListPackages(root string) ([]Package, error) {
	cmd := exec.Command("go", "list", "-e", "-json", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("lint: go list: %w\n%s", err, stderr.Bytes())
	}
	var packages []Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("lint: go list: %w", err)
		}
		packages = append(packages, p)
	}
}
