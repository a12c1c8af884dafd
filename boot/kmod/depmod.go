package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// maxModules bounds a tree; Debian's full kernel has about 4000.
const maxModules = 100_000

// Depmod writes modules.dep, modules.alias and modules.softdep for the tree in dir from the modules' own .modinfo, as
// depmod(8) does. A module under updates/ or extra/ takes the place of the kernel's own of that name. A dependency that
// the tree has not is written as a file of that name at the tree's top, which no line defines: [Tree.Resolve] then
// refuses the module that needs it, and no other.
func Depmod(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("kmod: depmod: %w", err)
	}
	defer root.Close()
	if err := depmod(root); err != nil {
		return fmt.Errorf("kmod: depmod %s: %w", dir, err)
	}
	return nil
}

func depmod(root *os.Root) error {
	t, err := scan(root)
	if err != nil {
		return err
	}
	if t.builtin, err = builtins(root); err != nil {
		return err
	}
	all := t.Modules()
	for _, index := range []struct {
		file  string
		write func(*bytes.Buffer, []Module) error
	}{
		{"modules.dep", t.WriteDep},
		{"modules.alias", t.WriteAlias},
		{"modules.softdep", t.WriteSoftdep},
	} {
		var b bytes.Buffer
		if err := index.write(&b, all); err != nil {
			return err
		}
		if err := root.WriteFile(index.file, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// scan reads the .modinfo of every module of a tree.
func scan(root *os.Root) (*Tree, error) {
	t := &Tree{modules: map[string]*Module{}}
	aliases := map[string][]string{}
	err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base, suffix := splitSuffix(p)
		if d.IsDir() || !strings.HasSuffix(base, ".ko") {
			return nil
		}
		if err := checkPath(p); err != nil {
			return err
		}
		info, err := moduleInfo(root, p, suffix)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		m := &Module{Name: Name(p), Path: p, Deps: info.Depends, Pre: info.Pre, Post: info.Post}
		if other, ok := t.modules[m.Name]; ok && priority(other.Path) >= priority(p) {
			return nil
		}
		t.modules[m.Name] = m
		aliases[m.Name] = info.Aliases
		if len(t.modules) > maxModules {
			return fmt.Errorf("more than %d modules: %w", maxModules, ErrTooLarge)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range t.Modules() {
		for _, a := range aliases[m.Name] {
			t.aliases = append(t.aliases, alias{a, m.Name})
		}
	}
	return t, nil
}

// priority is the order in which depmod.d(5) searches by default.
func priority(p string) int {
	switch top, _, _ := strings.Cut(p, "/"); top {
	case "updates":
		return 2
	case "extra":
		return 1
	}
	return 0
}

// moduleInfo reads only the section where it can: a tree has some hundred megabytes.
func moduleInfo(root *os.Root, name, suffix string) (Info, error) {
	if suffix != "" {
		data, err := readFile(root, name)
		if err != nil {
			return Info{}, err
		}
		return ReadInfo(bytes.NewReader(data))
	}
	f, _, err := openRegular(root, name)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return ReadInfo(f)
}

func builtins(root *os.Root) (map[string]bool, error) {
	t := Tree{builtin: map[string]bool{}}
	data, err := readBounded(root, "modules.builtin", maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return t.builtin, nil
	}
	if err != nil {
		return nil, err
	}
	return t.builtin, t.parseBuiltin(data)
}

// WriteDep writes the lines of modules.dep for some of the tree's modules: all that each needs, the last to be loaded
// first.
func (t *Tree) WriteDep(b *bytes.Buffer, modules []Module) error {
	for _, m := range modules {
		deps, err := t.closure(m.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%s:", m.Path)
		for _, dep := range slices.Backward(deps) {
			fmt.Fprintf(b, " %s", dep)
		}
		b.WriteByte('\n')
	}
	return nil
}

// WriteAlias writes the lines of modules.alias for some of the tree's modules.
func (t *Tree) WriteAlias(b *bytes.Buffer, modules []Module) error {
	in := make(map[string]bool, len(modules))
	for _, m := range modules {
		in[m.Name] = true
	}
	for _, a := range t.aliases {
		if in[a.module] {
			fmt.Fprintf(b, "alias %s %s\n", a.pattern, a.module)
		}
	}
	return nil
}

// WriteSoftdep writes the lines of modules.softdep for some of the tree's modules.
func (t *Tree) WriteSoftdep(b *bytes.Buffer, modules []Module) error {
	for _, m := range modules {
		if len(m.Pre)+len(m.Post) == 0 {
			continue
		}
		fmt.Fprintf(b, "softdep %s", m.Name)
		for _, part := range []struct {
			word  string
			names []string
		}{{"pre:", m.Pre}, {"post:", m.Post}} {
			if len(part.names) > 0 {
				fmt.Fprintf(b, " %s %s", part.word, strings.Join(part.names, " "))
			}
		}
		b.WriteByte('\n')
	}
	return nil
}

// closure gives the paths of all that a module needs, in load order.
func (t *Tree) closure(name string) ([]string, error) {
	var (
		order []string
		stack []string
		done  = map[string]bool{}
		visit func(string) error
	)
	visit = func(n string) error {
		if done[n] || t.builtin[n] {
			return nil
		}
		if i := slices.Index(stack, n); i >= 0 {
			return fmt.Errorf("%s: %w", strings.Join(append(slices.Clone(stack[i:]), n), " needs "), ErrCycle)
		}
		file := n + ".ko" // what it would be called if it were there
		if m, ok := t.modules[n]; ok {
			file = m.Path
			stack = append(stack, n)
			for _, dep := range m.Deps {
				if err := visit(dep); err != nil {
					return err
				}
			}
			stack = stack[:len(stack)-1]
		} else if err := checkPath(path.Clean(file)); err != nil {
			return err
		}
		done[n] = true
		if n != name {
			order = append(order, file)
		}
		return nil
	}
	return order, visit(name)
}
