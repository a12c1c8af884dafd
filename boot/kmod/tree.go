package kmod

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxIndex bounds an index file; the largest of a distribution, modules.alias, is about 1.5 MiB.
const maxIndex = 64 << 20

// A Tree is the index of one /lib/modules/VERSION, read once. It is safe for use by many goroutines.
type Tree struct {
	dir     string
	version string
	modules map[string]*Module // by Name
	builtin map[string]bool    // by Name
	aliases []alias            // in the order of modules.alias, which is depmod's
}

// An alias is a pattern by which the kernel or a device asks for a module.
type alias struct {
	pattern string // normalised
	module  string // its Name; empty for what is built in
}

// Open reads the index of the tree in dir: modules.dep must be there (see [Depmod]), the others may be.
func Open(dir string) (*Tree, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("kmod: open %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("kmod: open module tree: %w", err)
	}
	defer root.Close()

	t := &Tree{dir: abs, version: filepath.Base(abs), modules: map[string]*Module{}, builtin: map[string]bool{}}
	for _, index := range []struct {
		file     string
		required bool
		parse    func([]byte) error
	}{
		{"modules.dep", true, t.parseDep},
		{"modules.softdep", false, t.parseSoftdep},
		{"modules.alias", false, t.parseAlias},
		{"modules.builtin", false, t.parseBuiltin},
		{"modules.builtin.modinfo", false, t.parseBuiltinModinfo},
	} {
		data, err := readBounded(root, index.file, maxIndex)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !index.required:
			continue
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("kmod: open %s: no %s, so nobody has run depmod on it: %w", dir, index.file, err)
		case err != nil:
			return nil, fmt.Errorf("kmod: open %s: %w", dir, err)
		}
		if err := index.parse(data); err != nil {
			return nil, fmt.Errorf("kmod: open %s: %s: %w", dir, index.file, err)
		}
	}
	return t, nil
}

// Version is the name of the tree's folder, which is the kernel's release (uname -r).
func (t *Tree) Version() string { return t.version }

// Dir is the folder that the tree was read from.
func (t *Tree) Dir() string { return t.dir }

// Modules gives all modules of the tree, sorted by name.
func (t *Tree) Modules() []Module {
	all := make([]Module, 0, len(t.modules))
	for _, m := range t.modules {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Module) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Aliases gives the patterns of a module, in the order of modules.alias.
func (t *Tree) Aliases(name string) []string {
	var patterns []string
	name = Name(name)
	for _, a := range t.aliases {
		if a.module == name {
			patterns = append(patterns, a.pattern)
		}
	}
	return patterns
}

// ReadModule gives a module's ELF file, decompressed. A path or link that leads out of the tree is refused.
func (t *Tree) ReadModule(m Module) ([]byte, error) {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, fmt.Errorf("kmod: read module %s: %w", m.Name, err)
	}
	defer root.Close()
	data, err := readFile(root, m.Path)
	if err != nil {
		return nil, fmt.Errorf("kmod: read module %s: %w", m.Name, err)
	}
	return data, nil
}

// parseDep reads lines of "path: path path ..."; depmod(8) writes all that a module needs, the last to be loaded first.
func (t *Tree) parseDep(data []byte) error {
	return lines(data, func(line string) error {
		file, deps, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%q has no colon: %w", line, ErrFormat)
		}
		if err := checkPath(file); err != nil {
			return err
		}
		m := &Module{Name: Name(file), Path: file}
		for _, dep := range slices.Backward(strings.Fields(deps)) {
			if err := checkPath(dep); err != nil {
				return err
			}
			m.Deps = append(m.Deps, Name(dep))
		}
		if other, ok := t.modules[m.Name]; ok {
			return fmt.Errorf("%s and %s are the same module: %w", other.Path, m.Path, ErrFormat)
		}
		if t.modules[m.Name] = m; len(t.modules) > maxModules {
			return fmt.Errorf("more than %d modules: %w", maxModules, ErrTooLarge)
		}
		return nil
	})
}

// parseSoftdep reads lines of "softdep NAME pre: A B post: C".
func (t *Tree) parseSoftdep(data []byte) error {
	return lines(data, func(line string) error {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "softdep" {
			return fmt.Errorf("%q is not a softdep: %w", line, ErrFormat)
		}
		if m, ok := t.modules[Name(f[1])]; ok {
			pre, post := parseSoft(f[2:])
			m.Pre, m.Post = append(m.Pre, pre...), append(m.Post, post...)
		}
		return nil
	})
}

func parseSoft(fields []string) (pre, post []string) {
	var to *[]string
	for _, f := range fields {
		switch {
		case f == "pre:":
			to = &pre
		case f == "post:":
			to = &post
		case to != nil:
			*to = append(*to, f)
		}
	}
	return pre, post
}

// parseAlias reads lines of "alias PATTERN NAME".
func (t *Tree) parseAlias(data []byte) error {
	return lines(data, func(line string) error {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "alias" {
			return fmt.Errorf("%q is not an alias: %w", line, ErrFormat)
		}
		t.aliases = append(t.aliases, alias{normal(f[1]), Name(f[2])})
		return nil
	})
}

func (t *Tree) parseBuiltin(data []byte) error {
	return lines(data, func(line string) error {
		t.builtin[Name(line)] = true
		return nil
	})
}

// parseBuiltinModinfo reads the .modinfo of the kernel itself, where each key has its module's name before it:
// "crc32c_generic.alias=crypto-crc32c".
func (t *Tree) parseBuiltinModinfo(data []byte) error {
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		key, value, ok := strings.Cut(string(entry), "=")
		module, key, dotted := strings.Cut(key, ".")
		switch {
		case len(entry) == 0:
		case !ok || !dotted:
			return fmt.Errorf("%.80q is not MODULE.KEY=VALUE: %w", entry, ErrFormat)
		case key == "alias":
			t.aliases = append(t.aliases, alias{normal(value), ""})
		default:
			t.builtin[Name(module)] = true
		}
	}
	return nil
}

// lines calls f for each line that is neither empty nor a comment.
func lines(data []byte, f func(string) error) error {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("line too long: %w", ErrFormat)
	}
	return nil
}

// checkPath refuses what is no clean path below the tree to a module's file.
func checkPath(p string) error {
	base, _ := splitSuffix(p)
	if !filepath.IsLocal(p) || path.Clean(p) != p || !strings.HasSuffix(base, ".ko") || Name(p) == "" || strings.ContainsFunc(p, notInPath) {
		return fmt.Errorf("%q is not a path to a module below the tree: %w", p, ErrFormat)
	}
	return nil
}

// notInPath tells what would not come back out of an index file: its fields end at white space, and a path at a colon.
func notInPath(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' }

// openRegular opens a file that is one: to open a pipe would wait for its writer.
func openRegular(root *os.Root, name string) (*os.File, int64, error) {
	st, err := root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file: %w", name, ErrFormat)
	}
	f, err := root.Open(name)
	return f, st.Size(), err
}

// readBounded reads a file of at most limit bytes.
func readBounded(root *os.Root, name string, limit int64) ([]byte, error) {
	f, size, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d: %w", name, size, limit, ErrTooLarge)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}
