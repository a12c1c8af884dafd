package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// InLab is the variable that is set in the lab, to any value.
const InLab = "TANDEM_LAB"

// cacheFolder is where tandem keeps kernels.
func cacheFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "tandem"), nil
}

// checkKernel wants a kernel of that flavour in the store: the tests do not fetch any, `make test` has done it.
func checkKernel(flavour string) func() error {
	return func() error {
		dir, err := cacheFolder()
		if err != nil {
			return err
		}
		found, err := filepath.Glob(filepath.Join(dir, "kernels", "*"+flavour+"*"))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("no %s kernel in %s, get one with tandem kernel pull", flavour, dir)
		}
		return nil
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
