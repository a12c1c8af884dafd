package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"tandem/boot/kmod"
	"tandem/boot/store"
)

// NoBusybox as Base.Busybox makes an archive without it.
const NoBusybox = "none"

// ErrDynamic tells a program that the guest cannot run, as it has no libraries.
var ErrDynamic = errors.New("not a static binary")

// A Base is the spec of the archive that many runs share: it changes when tandem, busybox or the kernel change.
type Base struct {
	// Init is the static binary that becomes /init, and /bin/tandem by a link. Empty is this program itself.
	Init string
	// Busybox is a static busybox that becomes /bin/busybox, with a link for each applet. Empty is the host's if it has
	// a static one, else none; [NoBusybox] is none.
	Busybox string
	// ModulesDir is the kernel's /lib/modules/VERSION, with a modules.dep. Empty is an archive without modules.
	ModulesDir string
	// Sets are what is put into the archive. A required name that the kernel has not got is an error.
	Sets []Set
	// Cache is the folder that archives are kept in. Empty is "initramfs" in store.CacheDir.
	Cache string
}

// An Archive is a base archive in the cache. The cache keeps the last few that were used: open the file soon; an open
// or mapped one outlives its removal.
type Archive struct {
	// Path is the archive's file. Its size is a multiple of the page size.
	Path string `json:"-"`
	Size int64  `json:"size"`
	// Digest is the key: a sha256 over the names, sizes and times of the inputs, not over the content.
	Digest string `json:"digest"`
	// Kernel is the release that the modules are for; empty if there are none.
	Kernel string `json:"kernel,omitempty"`
	// Busybox tells whether there is a shell.
	Busybox bool `json:"busybox"`
	// Modules are all modules in the archive, in load order.
	Modules []kmod.Module `json:"modules,omitempty"`
	// Missing are the optional names that this kernel has not got.
	Missing []string `json:"missing,omitempty"`
	// Builtin are the names that need no module.
	Builtin []string `json:"builtin,omitempty"`
	// Names tells, for each name that can be loaded, which modules that takes, in load order.
	Names map[string][]string `json:"names,omitempty"`
}

// Build gives the archive of b: from the cache if its inputs are what they were, else made.
func (b Base) Build(ctx context.Context) (*Archive, error) {
	if err := b.fill(); err != nil {
		return nil, fmt.Errorf("initramfs: build: %w", err)
	}
	key, err := b.key()
	if err != nil {
		return nil, fmt.Errorf("initramfs: build: %w", err)
	}
	c := cache{b.Cache}
	if a, err := c.get(key); err == nil {
		return a, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("initramfs: cached archive: %w", err)
	}
	a, err := c.put(key, func(f *os.File) (*Archive, error) { return b.write(ctx, f, key) })
	if err != nil {
		return nil, fmt.Errorf("initramfs: build: %w", err)
	}
	return a, nil
}

// fill puts the host's own in place of what is empty.
func (b *Base) fill() error {
	if b.Init == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		b.Init = self
	}
	switch b.Busybox {
	case "":
		b.Busybox = hostBusybox()
	case NoBusybox:
		b.Busybox = ""
	}
	if b.Cache == "" {
		dir, err := store.CacheDir()
		if err != nil {
			return err
		}
		b.Cache = filepath.Join(dir, "initramfs")
	}
	return nil
}

// hostBusybox is the host's if it has a static one, else empty.
func hostBusybox() string {
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox", "/sbin/busybox.static", "/usr/sbin/busybox"} {
		if checkStatic(p) == nil {
			return p
		}
	}
	return ""
}

// Load gives the files, as paths in the guest, that the named modules and all that they need are loaded from, in order.
// The names are those of the sets. What is built in, or optional and missing, is left out; a name that no set had is an
// error.
func (a *Archive) Load(names ...string) ([]string, error) {
	need := map[string]bool{}
	for _, name := range names {
		modules, ok := a.Names[name]
		if !ok && !slices.Contains(a.Builtin, name) && !slices.Contains(a.Missing, name) {
			return nil, fmt.Errorf("initramfs: load %s: not in the archive for kernel %q: %w", name, a.Kernel, kmod.ErrNotFound)
		}
		for _, m := range modules {
			need[m] = true
		}
	}
	var files []string
	for _, m := range a.Modules {
		if need[m.Name] {
			files = append(files, modulePath(a.Kernel, m))
		}
	}
	return files, nil
}

// modulePath is where a module lies in the guest.
func modulePath(release string, m kmod.Module) string {
	return "/lib/modules/" + release + "/" + m.Plain()
}
