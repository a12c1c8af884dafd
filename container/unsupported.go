package container

import (
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// unsupported names what a configuration asks for and is not to be had: a label that no security module of this kernel's
// would give. To be unconfined is to be had of any kernel.
func unsupported(c *specs.Spec) error {
	p := c.Process
	wants := []struct {
		asked bool
		field string
		have  func() bool
		lacks string
	}{
		{p.ApparmorProfile != "" && p.ApparmorProfile != unconfined, "process.apparmorProfile", haveAppArmor, "this kernel runs without AppArmor"},
		{p.SelinuxLabel != "", "process.selinuxLabel", haveSELinux, "this kernel runs without SELinux"},
	}
	for _, w := range wants {
		if w.asked && !w.have() {
			return fmt.Errorf("%s: %w: %s", w.field, ErrNotSupported, w.lacks)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// splitPath are a path's parts.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
