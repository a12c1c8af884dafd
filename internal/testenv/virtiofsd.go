package testenv

import (
	"errors"
	"os"
)

// FindVirtiofsd gives the path of virtiofsd, which distributions do not put where programs are: Debian 12 has it with
// QEMU, others have the one in Rust.
func FindVirtiofsd() (string, error) {
	var errs []error
	for _, path := range []string{"/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"} {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func checkVirtiofsd() error {
	_, err := FindVirtiofsd()
	return err
}
