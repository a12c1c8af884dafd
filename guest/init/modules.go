package guestinit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

// loadModules loads modules in order. One that fails is reported with its name: what needs it will fail, too, and only
// here is the reason known.
func loadModules(modules []config.Module) {
	for _, m := range modules {
		if err := loadModule(m); err != nil {
			report("load module %s (%s): %v", moduleName(m.Path), m.Path, err)
		}
	}
}

func loadModule(m config.Module) error {
	f, err := os.Open(m.Path)
	if err != nil {
		return errors.Unwrap(err) // the caller names the path
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), m.Options, 0)
	if errors.Is(err, unix.ENOSYS) {
		err = loadImage(f, m.Options)
	}
	switch {
	case err == nil, errors.Is(err, unix.EEXIST): // loaded already
		return nil
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("unknown symbol: a module that it needs is not loaded: %w", err)
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("not a module of this kernel: %w", err)
	}
	return err
}

// loadImage is for kernels without finit_module(2).
func loadImage(f *os.File, options string) error {
	image, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return unix.InitModule(image, options)
}

// moduleName is a module's name as lsmod prints it.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
