package container

import (
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// unsupported names what a configuration asks for and is not to be had.
func unsupported(c *specs.Spec) error {
	wants := []struct {
		asked bool
		field string
		have  func() bool
		lacks string
	}{
		{c.Process != nil && c.Process.ApparmorProfile != "", "process.apparmorProfile", haveAppArmor, "this kernel runs without AppArmor"},
		{c.Process != nil && c.Process.SelinuxLabel != "", "process.selinuxLabel", haveSELinux, "this kernel runs without SELinux"},
	}
	for _, w := range wants {
		if w.asked && !w.have() {
			return fmt.Errorf("%s: %w: %s", w.field, ErrNotSupported, w.lacks)
		}
	}
	return nil
}

func haveAppArmor() bool { return exists("/proc/self/attr/apparmor/exec") }

func haveSELinux() bool { return exists("/sys/fs/selinux/enforce") }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// splitPath are a path's parts.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
