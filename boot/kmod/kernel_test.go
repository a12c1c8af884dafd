package kmod

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

// kernels gives the module trees of the kernels that `make test` has pulled.
func kernels(t *testing.T) []string {
	t.Helper()
	testenv.Need(t, testenv.GuestKernel)
	cache := os.Getenv("TANDEM_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "tandem")
	}
	trees, err := filepath.Glob(filepath.Join(cache, "kernels/*/modules/lib/modules/*"))
	if err != nil || len(trees) == 0 {
		t.Fatalf("no module trees below %s: %v", cache, err)
	}
	return trees
}

// TestOrderGivesSymbols holds the order against what the kernel's loader does: it refuses a module whose undefined
// symbols are not exported by the kernel or a module that is there. depends= is made by modpost, so this checks it by
// other means.
func TestOrderGivesSymbols(t *testing.T) {
	for _, dir := range kernels(t) {
		tr, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		exports := map[string]string{} // symbol -> the module that has it
		undefined := map[string][]string{}
		for _, m := range tr.Modules() {
			data, err := tr.ReadModule(m)
			if err != nil {
				t.Fatal(err)
			}
			f, err := elf.NewFile(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			symbols, err := f.Symbols()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range symbols {
				if name, ok := strings.CutPrefix(s.Name, "__ksymtab_"); ok {
					exports[name] = m.Name
				} else if s.Section == elf.SHN_UNDEF {
					undefined[m.Name] = append(undefined[m.Name], s.Name)
				}
			}
		}
		checked := 0
		for _, m := range tr.Modules() {
			order, _, err := tr.Resolve([]string{m.Name}, nil)
			if err != nil {
				t.Errorf("%s: %v", tr.Version(), err)
				continue
			}
			loaded := map[string]bool{}
			for _, o := range order {
				for _, s := range undefined[o.Name] {
					if by, ok := exports[s]; ok && !loaded[by] {
						t.Fatalf("%s: to load %s, %s comes before %s, whose %s it needs", tr.Version(), m.Name, o.Name, by, s)
					} else if ok {
						checked++
					}
				}
				loaded[o.Name] = true
			}
			if !loaded[m.Name] {
				t.Errorf("%s: %s is not in its own order", tr.Version(), m.Name)
			}
		}
		if checked == 0 {
			t.Errorf("%s: no symbol was checked", tr.Version())
		}
		t.Logf("%s: %d modules, %d uses of exported symbols", tr.Version(), len(tr.Modules()), checked)
	}
}

func TestDepmodRepeats(t *testing.T) {
	for _, dir := range kernels(t) {
		tr, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := tr.WriteDep(&b, tr.Modules()); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
		if err != nil || !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: modules.dep changed by being read and written: %v", dir, err)
		}
	}
}
