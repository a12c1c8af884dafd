package initramfs

import (
	"context"
	"io"

	"tandem/boot/kmod"
)

// A Base is the spec of the archive that many runs share: it changes when tandem, busybox or the kernel change.
type Base struct {
	// Init is the static binary that becomes /init, and /bin/tandem by a link. Empty is this program itself.
	Init string
	// Busybox is a static busybox that becomes /bin/busybox with a link for each applet. Empty is the host's, if it has a static one; "none" is none.
	Busybox string
	// ModulesDir is the kernel's /lib/modules/VERSION, with a modules.dep. Empty is an archive without modules.
	ModulesDir string
	// Sets are what is put into the archive. A required name that the kernel has not got is an error.
	Sets []Set
	// Cache is the folder that archives are kept in. Empty is "initramfs" beside the kernel store, under store.CacheDir.
	Cache string
}

// An Archive is a base archive in the cache. It stays valid while it is used: the cache keeps the last few, and an
// open file outlives its removal.
type Archive struct {
	// Path is the archive's file; its size is a multiple of the page size.
	Path string
	Size int64
	// Digest is the sha256 of the inputs' names, sizes and times: the key, not the content's.
	Digest string
	// Kernel is the release that the modules are for.
	Kernel string
	// Modules are all modules in the archive, in load order.
	Modules []kmod.Module
	// Missing are the optional modules that this kernel has not got.
	Missing []string
	// Builtin are the wanted ones that need no module, as they are built in.
	Builtin []string
}

// Build gives the archive of b: from the cache if its inputs have not changed, else made.
func (b Base) Build(ctx context.Context) (*Archive, error) { panic("TODO") }

// Load gives the files, as absolute paths in the guest ("/lib/modules/VERSION/kernel/..."), that load the named modules, in order.
// Names that are built in or missing from the kernel (if optional when built) are left out; a name that the archive knows nothing of is an error.
func (a *Archive) Load(names ...string) ([]string, error) { panic("TODO") }

// A File is a user's addition to the archive of one run.
type File struct {
	Name string // in the guest
	Mode uint32 // permission bits
	Data []byte
}

// Overlay makes the archive of one run: guest/config's init.json at /etc/tandem/init.json, and the files. It is page-aligned like each archive.
func Overlay(initJSON []byte, files ...File) ([]byte, error) { panic("TODO") }

// AddTree reads what lies at src on the host, a file or a folder, for dst in the guest.
func AddTree(src, dst string) ([]File, error) { panic("TODO") }

// Check reads a user's initrd, compressed or not as the kernel would take it, and tells what is wrong with it.
func Check(r io.Reader) error { panic("TODO") }
