package kmod

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func FuzzIndex(f *testing.F) {
	f.Add(tree["modules.dep"], tree["modules.softdep"], tree["modules.alias"], tree["modules.builtin"], tree["modules.builtin.modinfo"])
	f.Add("a.ko: b.ko\nb.ko: a.ko\n", "softdep a pre: b post: a\n", "alias * a\nalias [ b\n", "c.ko", "")
	f.Fuzz(func(t *testing.T, dep, softdep, alias, builtin, modinfo string) {
		tr := &Tree{version: "1.2.3", modules: map[string]*Module{}, builtin: map[string]bool{}}
		if err := errors.Join(tr.parseDep([]byte(dep)), tr.parseSoftdep([]byte(softdep)), tr.parseAlias([]byte(alias)),
			tr.parseBuiltin([]byte(builtin)), tr.parseBuiltinModinfo([]byte(modinfo))); err != nil {
			return
		}
		all := tr.Modules()
		var wanted []string
		for _, m := range all {
			if !filepath.IsLocal(m.Path) {
				t.Fatalf("%q leads out of the tree", m.Path)
			}
			wanted = append(wanted, m.Name)
		}
		order, missing, err := tr.Resolve(nil, wanted)
		if err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("optional modules failed: %v", err)
		}
		loaded := map[string]bool{}
		for _, m := range order {
			for _, d := range m.Deps {
				if !loaded[d] && !tr.builtin[d] {
					t.Fatalf("%s comes before %s, which it needs", m.Name, d)
				}
			}
			if loaded[m.Name] {
				t.Fatalf("%s comes twice", m.Name)
			}
			loaded[m.Name] = true
		}
		for _, m := range missing {
			if !loaded[m] {
				continue
			}
			// It may have come later, as somebody's soft dependency, once what was in its way had been loaded.
			if _, _, err := tr.Resolve([]string{m}, nil); err != nil && !errors.Is(err, ErrCycle) {
				t.Fatalf("%s is missing and loaded: %v", m, err)
			}
		}
		var b bytes.Buffer
		if err := tr.WriteDep(&b, all); err != nil {
			if !errors.Is(err, ErrCycle) {
				t.Fatal(err)
			}
			return
		}
		again := &Tree{modules: map[string]*Module{}}
		if err := again.parseDep(b.Bytes()); err != nil {
			t.Fatalf("read what was written: %v\n%s", err, b.Bytes())
		}
		if !slices.EqualFunc(all, again.Modules(), func(a, b Module) bool { return a.Path == b.Path }) {
			t.Fatalf("%v became %v", all, again.Modules())
		}
	})
}

func FuzzReadInfo(f *testing.F) {
	f.Add(module("name=a", "depends=b,c", "alias=x*", "softdep=pre: d"))
	f.Add(module("license=GPL")[:80])
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := ReadInfo(bytes.NewReader(data))
		if err != nil {
			return
		}
		// What a module says of itself becomes an index that can be read.
		tr := &Tree{modules: map[string]*Module{"m": {Name: "m", Path: "m.ko", Deps: info.Depends, Pre: info.Pre, Post: info.Post}}}
		for _, a := range info.Aliases {
			tr.aliases = append(tr.aliases, alias{a, "m"})
		}
		var b bytes.Buffer
		if err := tr.WriteDep(&b, tr.Modules()); err == nil {
			again := &Tree{modules: map[string]*Module{}}
			if err := again.parseDep(b.Bytes()); err != nil {
				t.Fatalf("modules.dep: %v\n%s", err, b.Bytes())
			}
		}
		b.Reset()
		if err := tr.WriteAlias(&b, tr.Modules()); err != nil {
			t.Fatal(err)
		}
		if err := new(Tree).parseAlias(b.Bytes()); err != nil {
			t.Fatalf("modules.alias: %v\n%s", err, b.Bytes())
		}
	})
}

func FuzzDecompress(f *testing.F) {
	for _, suffix := range []string{".gz", ".xz", ".zst"} {
		f.Add(pack(f, suffix, module("name=a")), suffix)
	}
	f.Fuzz(func(t *testing.T, data []byte, suffix string) {
		if suffix != ".gz" && suffix != ".xz" && suffix != ".zst" {
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.ko"+suffix), data, 0o644); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if out, err := readFile(root, "a.ko"+suffix); err == nil && !bytes.HasPrefix(out, []byte("\x7fELF")) {
			t.Fatalf("%q is no module", out)
		}
	})
}
