package kmod

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that say what is wrong with a tree or a request; they come wrapped with the module's name.
var (
	ErrNotFound = errors.New("no such module")
	ErrCycle    = errors.New("modules depend on each other in a circle")
	ErrFormat   = errors.New("malformed")
	ErrTooLarge = errors.New("too large")
)

// A Module is a file of a tree.
type Module struct {
	// Name is as lsmod shows it: no folder, no suffix, "_" for "-".
	Name string `json:"name"`
	// Path is relative to the tree, as modules.dep has it: "kernel/drivers/block/virtio_blk.ko.xz".
	Path string `json:"path"`
	// Deps are the names of the modules that must be loaded before.
	Deps []string `json:"deps,omitempty"`
	// Pre and Post are the soft dependencies: loaded before and after if there, and no error if not. They may be
	// aliases.
	Pre  []string `json:"pre,omitempty"`
	Post []string `json:"post,omitempty"`
}

// Plain is Path without the suffix of a compression: what the decompressed file is called.
func (m Module) Plain() string {
	base, _ := splitSuffix(m.Path)
	return base
}

// A MissingError tells a module that a tree has not, and who asked for it.
type MissingError struct {
	Name    string // as it was asked for
	By      string // the module that depends on it; empty if the caller asked
	Version string // of the tree
}

// Error names the module, and who needs it.
func (e *MissingError) Error() string {
	if e.By != "" {
		return fmt.Sprintf("kmod: resolve %s: it needs %s, which kernel %s has not: %v", e.By, e.Name, e.Version, ErrNotFound)
	}
	return fmt.Sprintf("kmod: resolve %s: kernel %s has not got it, as a module or built in: %v", e.Name, e.Version, ErrNotFound)
}

// Unwrap gives [ErrNotFound].
func (e *MissingError) Unwrap() error { return ErrNotFound }

// Name gives the name under which the kernel knows the module of a file or of a request:
// "kernel/drivers/net/virtio-net.ko.zst" and "virtio-net" are both virtio_net.
func Name(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		path = path[i+1:]
	}
	path, _ = splitSuffix(path)
	return strings.ReplaceAll(strings.TrimSuffix(path, ".ko"), "-", "_")
}

// splitSuffix cuts a compression's suffix off a module's file name.
func splitSuffix(path string) (base, suffix string) {
	for _, s := range []string{".gz", ".xz", ".zst"} {
		if base, ok := strings.CutSuffix(path, s); ok && strings.HasSuffix(base, ".ko") {
			return base, s
		}
	}
	return path, ""
}
