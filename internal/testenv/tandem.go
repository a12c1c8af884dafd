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

// cacheFolder is where tandem keeps kernels: see store.CacheDir.
func cacheFolder() (string, error) {
	if dir := os.Getenv("TANDEM_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "tandem"), nil
}

// checkKernel wants a kernel out of that package in the store: the tests do not fetch any, `make test` has done it.
func checkKernel(pkg string) func() error {
	return func() error {
		dir, err := cacheFolder()
		if err != nil {
			return err
		}
		records, err := filepath.Glob(filepath.Join(dir, "kernels", "[0-9]*", "kernel.json"))
		if err != nil {
			return err
		}
		for _, file := range records {
			var kernel struct{ Package string }
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &kernel)
			}
			if err != nil {
				return err
			}
			if kernel.Package == pkg {
				return nil
			}
		}
		return fmt.Errorf("no kernel of %s in %s, get it with tandem kernel pull %s", pkg, dir, pkg)
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
