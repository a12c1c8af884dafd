package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Accel is the way in which QEMU executes the lab's instructions.
type Accel string

// The accelerators. Auto is KVM where it can nest, and TCG elsewhere.
const (
	Auto Accel = "auto"
	KVM  Accel = "kvm"
	TCG  Accel = "tcg"
)

// choose puts an accelerator that exists in the place of Auto.
func (a Accel) choose() (Accel, error) {
	switch a {
	case KVM, TCG:
		return a, nil
	case "", Auto:
		if kvmNests("/sys/module", "/dev/kvm") {
			return KVM, nil
		}
		return TCG, nil
	}
	return "", fmt.Errorf("accelerator %q is none of %s, %s, %s", string(a), Auto, KVM, TCG)
}

// kvmNests tells whether guests of this host's KVM can have a KVM themselves. Only the two modules for processors
// that virtualize in hardware can, and say so in their parameter "nested"; a KVM without either runs its guests in
// software, where TCG does better.
func kvmNests(modules, device string) bool {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		text, err := os.ReadFile(filepath.Join(modules, module, "parameters", "nested"))
		if value := strings.TrimSpace(string(text)); err == nil && (value == "Y" || value == "1") {
			return true
		}
	}
	return false
}
