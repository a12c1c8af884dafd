package lint

import (
	"fmt"
	"slices"
	"strings"
)

// arrows says which top folders a package may import from, besides its own and internal.
var arrows = map[string][]string{
	"cmd":       {"flow", "lab", "vmm", "guest", "vhost", "virtio", "boot", "container", "network", "kvm"},
	"examples":  {"flow", "lab", "vmm", "guest", "vhost", "virtio", "boot", "container", "network", "kvm"},
	"flow":      {"lab", "vmm", "guest", "vhost", "virtio", "boot", "container", "network", "kvm"},
	"lab":       {"guest", "boot"},
	"vmm":       {"vhost", "virtio", "boot", "container", "network", "kvm"},
	"guest":     {"container", "network"},
	"vhost":     {"virtio"},
	"virtio":    {},
	"boot":      {},
	"container": {},
	"network":   {},
	"kvm":       {},
	"internal":  {},
}

// testArrows are more for tests alone: a machine is tested with the guest that it was made for, and vhost-user with
// QEMU's machine, which needs a kernel.
var testArrows = map[string][]string{
	"vmm":   {"guest"},
	"vhost": {"boot"},
	"guest": {"boot"},
}

// CheckArrows names each import that points up, or sideways.
func CheckArrows(p Package) []string {
	from := top(p.Folder())
	allowed, known := arrows[from]
	if !known {
		return []string{fmt.Sprintf("%s: the folder %s has no place in the layout", p.ImportPath, from)}
	}
	if from == "internal" && p.Name == "main" {
		return nil // a tool, which nobody imports
	}
	var wrong []string
	check := func(what string, imports, allowed []string) {
		for _, path := range imports {
			to := top(folder(path))
			if to == "" || to == from || to == "internal" || slices.Contains(allowed, to) {
				continue
			}
			wrong = append(wrong, fmt.Sprintf("%s%s imports %s", p.ImportPath, what, path))
		}
	}
	check("", p.Imports, allowed)
	tests := slices.Concat(allowed, testArrows[from])
	check(" (its test)", p.TestImports, tests)
	check(" (its test)", p.XTestImports, tests)
	return wrong
}

func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}
