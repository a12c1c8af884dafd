package store

import (
	"context"
	"errors"
	"time"
)

// The packages that kernels are pulled from: the small one that guests boot, and the full one of the lab (9p, KVM, vhost).
const (
	GuestPackage = "linux-image-cloud-amd64"
	LabPackage   = "linux-image-amd64"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("no such kernel")
	ErrExists   = errors.New("kernel is there already")
)

// A Kernel is one entry of the store. Paths are absolute; Config, SystemMap and Modules are empty if the kernel came without.
type Kernel struct {
	Name    string    `json:"name"`              // what Get takes: the release, or what the user named it
	Release string    `json:"release"`           // uname -r
	Package string    `json:"package,omitempty"` // what was pulled, such as linux-image-cloud-amd64
	Source  string    `json:"source"`            // the package and version, or the file, that it was unpacked from
	Size    int64     `json:"size"`              // of all its files
	Digest  string    `json:"digest"`            // sha256:... of the image
	Added   time.Time `json:"added"`
	Default bool      `json:"default"`

	Image     string `json:"image"`
	Modules   string `json:"modules,omitempty"` // .../lib/modules/RELEASE, with a modules.dep
	Config    string `json:"config,omitempty"`
	SystemMap string `json:"system_map,omitempty"`
}

// Progress is told what Pull and Import do: total is 0 where it is not known. Calls come from one goroutine.
type Progress func(step string, done, total int64)

// A Store is a folder of kernels. All of it may be called at the same time, from any number of processes: changes
// take a lock, and a kernel appears and disappears in one rename.
type Store struct{ dir string }

// Open gives the store in dir, made if it is not there; empty is "kernels" in [CacheDir].
func Open(dir string) (*Store, error) { panic("TODO") }

// Pull downloads the kernel that a package of the distribution stands for, unpacks and keeps it. It is done at once if
// the store has that version already. name is a meta package, a kernel's own package, or empty for [GuestPackage]. progress may be nil.
func (s *Store) Pull(ctx context.Context, name string, progress Progress) (Kernel, error) {
	panic("TODO")
}

// Import keeps a kernel of the user's: a bzImage or vmlinux with the modules in modulesDir (a /lib/modules/RELEASE, or empty), or a .deb
// with both. An empty name is the kernel's release.
func (s *Store) Import(ctx context.Context, file, name, modulesDir string, progress Progress) (Kernel, error) {
	panic("TODO")
}

// List gives all kernels, newest first.
func (s *Store) List() ([]Kernel, error) { panic("TODO") }

// Get gives one kernel by name, by release, or the newest that was pulled from a package of that name. An empty name is the default: what
// SetDefault said, or the newest of [GuestPackage], or the newest of all but [LabPackage], or that.
func (s *Store) Get(name string) (Kernel, error) { panic("TODO") }

// Remove deletes a kernel.
func (s *Store) Remove(name string) error { panic("TODO") }

// SetDefault makes a kernel the one that Get("") gives.
func (s *Store) SetDefault(name string) error { panic("TODO") }
