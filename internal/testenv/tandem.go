package testenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// InLab is the variable that is set in the lab, to any value.
const InLab = "TANDEM_LAB"

// kernelFolder is where tandem keeps kernels: boot/store, which is not imported here as its own tests import this.
func kernelFolder() (string, error) {
	if dir := os.Getenv("TANDEM_CACHE"); dir != "" {
		return filepath.Join(dir, "kernels"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "tandem", "kernels"), nil
}

// checkKernel wants a kernel of that package in the store: the tests do not fetch any, `make test` has done it.
func checkKernel(pkg string) func() error {
	return func() error {
		dir, err := kernelFolder()
		if err != nil {
			return err
		}
		records, err := filepath.Glob(filepath.Join(dir, "[^.]*", "kernel.json"))
		if err != nil {
			return err
		}
		for _, path := range records {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var record struct{ Package string }
			if err := json.Unmarshal(text, &record); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if record.Package == pkg {
				return nil
			}
		}
		return fmt.Errorf("no %s in %s, get it with: tandem kernel pull %s", pkg, dir, pkg)
	}
}

// checkLab wants a host on which the lab starts: the lab itself is none, since QEMU emulated by QEMU is too slow.
func checkLab() error {
	return errors.Join(checkNotLab(), QEMU.Missing(), LabKernel.Missing())
}

func checkNotLab() error {
	if os.Getenv(InLab) != "" {
		return errors.New("this is the lab")
	}
	return nil
}
