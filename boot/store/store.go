package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("no such kernel")
	ErrExists   = errors.New("a kernel of that name is there already")
	ErrName     = errors.New("invalid name")
)

// The files of a store and of a kernel's folder in it.
const (
	lockFile    = ".lock"
	defaultFile = ".default"
	tempPrefix  = ".new-"
	deadPrefix  = ".old-"

	recordFile  = "kernel.json"
	imageFile   = "vmlinuz"
	configFile  = "config"
	mapFile     = "System.map"
	modulesRoot = "modules" // it holds lib/modules/RELEASE
)

// A Kernel is one entry of the store. Paths are absolute.
type Kernel struct {
	Name    string    `json:"name"`              // what Get takes: the release, or what the user named it
	Release string    `json:"release"`           // uname -r; empty if the image does not tell
	Package string    `json:"package,omitempty"` // what was asked for, such as linux-image-cloud-amd64
	Source  string    `json:"source"`            // the package and its version, or the file, that it came out of
	Size    int64     `json:"size"`              // of all its files
	Digest  string    `json:"digest"`            // of the image, as sha256:HEX
	Added   time.Time `json:"added"`
	Default bool      `json:"default"` // Get("") gives it

	Image     string `json:"image"`
	Modules   string `json:"modules,omitempty"`    // .../lib/modules/RELEASE, with a modules.dep; empty if it came without
	Config    string `json:"config,omitempty"`     // what it was built with
	SystemMap string `json:"system_map,omitempty"` // its symbols
}

// record is what kernel.json holds; all else is told by the folder.
type record struct {
	Release string    `json:"release"`
	Package string    `json:"package,omitempty"`
	Source  string    `json:"source"`
	Size    int64     `json:"size"`
	Digest  string    `json:"digest"`
	Added   time.Time `json:"added"`
}

// Progress is told what Pull and Import are doing; done and total are bytes of it, and total is 0 where nobody knows
// it. Calls come from one goroutine at a time.
type Progress func(step string, done, total int64)

// A Store is a folder of kernels. All of its methods may be called at the same time, by any number of processes: those
// that change it take a lock, and a kernel appears and disappears whole, by a rename.
type Store struct{ dir string }

// Open gives the store in dir, which is made if it is not there; empty is "kernels" in [CacheDir].
func Open(dir string) (*Store, error) {
	if dir == "" {
		cache, err := CacheDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(cache, "kernels")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// List gives all kernels, the one added last first.
func (s *Store) List() ([]Kernel, error) {
	kernels, err := s.list()
	if err != nil {
		return nil, fmt.Errorf("store: list kernels: %w", err)
	}
	return kernels, nil
}

// Get gives the kernel of that name; else the newest one of that release, or that was pulled as a package of that name.
// An empty name is the default: what SetDefault chose, else the newest [GuestPackage], else the newest that is no
// [LabPackage], else the newest.
func (s *Store) Get(name string) (Kernel, error) {
	kernels, err := s.list()
	if err != nil {
		return Kernel{}, fmt.Errorf("store: get kernel %q: %w", name, err)
	}
	for _, is := range []func(Kernel) bool{
		func(k Kernel) bool { return name == "" && k.Default },
		func(k Kernel) bool { return k.Name == name },
		func(k Kernel) bool { return name != "" && (k.Release == name || k.Package == name) },
	} {
		if i := slices.IndexFunc(kernels, is); i >= 0 {
			return kernels[i], nil
		}
	}
	if name == "" {
		return Kernel{}, fmt.Errorf("store: get the default kernel: %w: the store is empty, run `tandem kernel pull`", ErrNotFound)
	}
	return Kernel{}, fmt.Errorf("store: get kernel %q: %w", name, ErrNotFound)
}

// Remove deletes the kernel of that name. Whoever has its files open goes on with them.
func (s *Store) Remove(name string) error {
	unlock, err := s.lock()
	if err != nil {
		return fmt.Errorf("store: remove kernel %q: %w", name, err)
	}
	defer unlock()
	if err := errors.Join(s.sweep(), s.remove(name)); err != nil {
		return fmt.Errorf("store: remove kernel %q: %w", name, err)
	}
	return nil
}

func (s *Store) remove(name string) error {
	if _, err := s.read(name); err != nil {
		return err
	}
	dead := filepath.Join(s.dir, deadPrefix+name)
	if err := os.RemoveAll(dead); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(s.dir, name), dead); err != nil {
		return err
	}
	if chosen, err := s.chosen(); err != nil || chosen == name {
		if err := errors.Join(err, os.Remove(filepath.Join(s.dir, defaultFile))); err != nil {
			return err
		}
	}
	return os.RemoveAll(dead)
}

// SetDefault makes a kernel the one that Get("") gives, from now on.
func (s *Store) SetDefault(name string) error {
	unlock, err := s.lock()
	if err != nil {
		return fmt.Errorf("store: set default kernel %q: %w", name, err)
	}
	defer unlock()
	if _, err := s.read(name); err != nil {
		return fmt.Errorf("store: set default kernel %q: %w", name, err)
	}
	temp := filepath.Join(s.dir, tempPrefix+"default")
	err = os.WriteFile(temp, []byte(name+"\n"), 0o644)
	if err == nil {
		err = os.Rename(temp, filepath.Join(s.dir, defaultFile))
	}
	if err != nil {
		return fmt.Errorf("store: set default kernel %q: %w", name, err)
	}
	return nil
}

func (s *Store) list() ([]Kernel, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var kernels []Kernel
	for _, e := range entries {
		if !e.IsDir() || checkName(e.Name()) != nil {
			continue
		}
		k, err := s.read(e.Name())
		if errors.Is(err, ErrNotFound) { // removed just now
			continue
		}
		if err != nil {
			return nil, err
		}
		kernels = append(kernels, k)
	}
	slices.SortFunc(kernels, func(a, b Kernel) int {
		if c := b.Added.Compare(a.Added); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	chosen, err := s.chosen()
	if err != nil {
		return nil, err
	}
	for _, is := range []func(Kernel) bool{
		func(k Kernel) bool { return k.Name == chosen },
		func(k Kernel) bool { return k.Package == GuestPackage },
		func(k Kernel) bool { return k.Package != LabPackage },
		func(Kernel) bool { return true },
	} {
		if i := slices.IndexFunc(kernels, is); i >= 0 {
			kernels[i].Default = true
			break
		}
	}
	return kernels, nil
}

// chosen is what SetDefault was told; empty if nothing.
func (s *Store) chosen() (string, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, defaultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// read gives the kernel in the folder of that name.
func (s *Store) read(name string) (Kernel, error) {
	if err := checkName(name); err != nil {
		return Kernel{}, err
	}
	dir := filepath.Join(s.dir, name)
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Kernel{}, ErrNotFound
	}
	if err != nil {
		return Kernel{}, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return Kernel{}, fmt.Errorf("%s: %w", filepath.Join(dir, recordFile), err)
	}
	k := Kernel{
		Name: name, Release: r.Release, Package: r.Package, Source: r.Source, Size: r.Size, Digest: r.Digest, Added: r.Added,
		Image: filepath.Join(dir, imageFile),
	}
	for _, part := range []struct {
		path string
		to   *string
	}{
		{filepath.Join(dir, configFile), &k.Config},
		{filepath.Join(dir, mapFile), &k.SystemMap},
		{filepath.Join(dir, modulesRoot, "lib/modules", r.Release), &k.Modules},
	} {
		if _, err := os.Stat(part.path); err == nil {
			*part.to = part.path
		}
	}
	return k, nil
}

// checkRelease refuses what would not be the name of one folder of modules. A kernel says it of itself.
func checkRelease(release string) error {
	if release == "." || release == ".." || strings.ContainsAny(release, "/\x00") {
		return fmt.Errorf("release %q: %w: not the name of a folder", release, ErrName)
	}
	return nil
}

// checkName refuses what cannot be a kernel's folder; a leading dot is the store's own.
func checkName(name string) error {
	if name == "" || name[0] == '.' || name[0] == '-' || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("+-._~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return fmt.Errorf("%q: %w: letters, digits and +-._~ only, and a letter or digit first", name, ErrName)
	}
	return nil
}
