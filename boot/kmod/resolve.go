package kmod

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Resolve gives the modules that the names need, each after all that it depends on, in an order that depends on the
// arguments and the tree alone. A name is a module's or an alias; an alias stands for all modules that it fits. What is
// built in is left out. A name that the tree has not is a [MissingError] if it is in want, and is told in missing if it
// is in optional. An optional module whose dependency is missing is missing itself.
//
// Soft dependencies are taken where the tree has them: what a module wants before it ahead of it, what it wants after
// it behind it.
func (t *Tree) Resolve(want, optional []string) (order []Module, missing []string, err error) {
	r := resolver{tree: t, done: map[string]bool{}, onPath: map[string]bool{}}
	for _, name := range want {
		if err := r.name(name); err != nil {
			return nil, nil, err
		}
		r.behind()
	}
	for _, name := range optional {
		if !r.try(name) {
			missing = append(missing, name)
		}
		r.behind()
	}
	if r.visits > maxVisits {
		return nil, nil, fmt.Errorf("kmod: resolve: more than %d steps through the dependencies of kernel %s: %w", maxVisits, t.version, ErrTooLarge)
	}
	return r.order, missing, nil
}

// Has tells whether the kernel has a module or alias of that name, and whether it is built in.
func (t *Tree) Has(name string) (there, builtin bool) {
	mods, builtin := t.lookup(name)
	return builtin || len(mods) > 0, builtin
}

// lookup finds what a name stands for: a module, something built in, or the modules with an alias that fits. An alias
// that something built in answers to needs no module: others that fit are faster variants for some processors
// (crc32c_intel).
func (t *Tree) lookup(name string) (modules []string, builtin bool) {
	n := Name(name)
	if _, ok := t.modules[n]; ok {
		return []string{n}, false
	}
	if t.builtin[n] {
		return nil, true
	}
	wanted := normal(name)
	for _, a := range t.aliases {
		if a.pattern != wanted {
			// A malformed pattern fits nothing, as with fnmatch(3).
			if ok, err := path.Match(a.pattern, wanted); err != nil || !ok {
				continue
			}
		}
		if a.module == "" || t.builtin[a.module] {
			return nil, true
		}
		if !slices.Contains(modules, a.module) {
			modules = append(modules, a.module)
		}
	}
	return modules, false
}

// maxVisits bounds the walk through a tree that was made to be slow: modules that want and miss each other softly, at
// every level, are tried in every combination. All modules of a real kernel together take some ten thousand.
const maxVisits = 1 << 20

// A resolver walks dependencies depth first. It goes by every module's own line, so that it needs no trust in the
// lines to be closed or ordered.
type resolver struct {
	tree   *Tree
	order  []Module
	done   map[string]bool // in order already
	path   []string        // from a wanted module down to the one that is looked at
	onPath map[string]bool // the same as a set
	post   []string        // soft dependencies that wait for their module
	visits int
}

// name adds the modules that a name stands for.
func (r *resolver) name(name string) error {
	modules, builtin := r.tree.lookup(name)
	if len(modules) == 0 && !builtin {
		return &MissingError{Name: name, Version: r.tree.version}
	}
	for _, m := range modules {
		if err := r.module(m, ""); err != nil {
			return err
		}
	}
	return nil
}

// module adds one module behind all that it depends on; by is who needs it.
func (r *resolver) module(name, by string) error {
	r.visits++
	m, ok := r.tree.modules[name]
	switch {
	case r.done[name] || r.visits > maxVisits:
		return nil
	case r.onPath[name]:
		circle := append(slices.Clone(r.path[slices.Index(r.path, name):]), name)
		return fmt.Errorf("kmod: resolve %s: %s: %w", r.path[0], strings.Join(circle, " needs "), ErrCycle)
	case !ok && by != "" && r.tree.builtin[name]:
		return nil
	case !ok:
		return &MissingError{Name: name, By: by, Version: r.tree.version}
	}
	r.path, r.onPath[name] = append(r.path, name), true
	defer func() { r.path = r.path[:len(r.path)-1]; delete(r.onPath, name) }()

	for _, dep := range m.Deps {
		if err := r.module(dep, name); err != nil {
			return err
		}
	}
	for _, soft := range m.Pre {
		r.try(soft)
	}
	r.done[name] = true
	r.order = append(r.order, *m)
	r.post = append(r.post, m.Post...)
	return nil
}

// try adds what a name stands for as far as it can be had, and tells whether that was all of it. What failed leaves no
// trace.
func (r *resolver) try(name string) bool {
	modules, builtin := r.tree.lookup(name)
	all := builtin || len(modules) > 0
	for _, m := range modules {
		if r.onPath[m] { // modules may want each other softly: it comes when the walk is back there
			continue
		}
		order, post := len(r.order), len(r.post)
		if err := r.module(m, ""); err != nil {
			for _, undo := range r.order[order:] {
				delete(r.done, undo.Name)
			}
			r.order, r.post = r.order[:order], r.post[:post]
			all = false
		}
	}
	return all
}

// behind adds what the modules so far want behind them.
func (r *resolver) behind() {
	for len(r.post) > 0 {
		soft := r.post[0]
		r.post = r.post[1:]
		r.try(soft)
	}
}

// normal is the form in which aliases are compared: "-" is "_", but not inside brackets, where it makes a range.
func normal(pattern string) string {
	if strings.IndexByte(pattern, '-') < 0 {
		return pattern
	}
	b := []byte(pattern)
	inside := false
	for i, c := range b {
		switch {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case c == '-' && !inside:
			b[i] = '_'
		}
	}
	return string(b)
}
