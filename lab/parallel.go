package lab

import (
	"context"
	"fmt"
	"os/exec"
)

// parallelTCG tells whether QEMU may execute the lab's CPUs on threads of their own.
//
// Before QEMU 8.1, a thread could read instructions for translation while another wrote them, and then keep the stale
// translation for ever. Linux patches its own code while it runs: with the first and the last VM, each of which turns a
// branch of the scheduler on or off (preempt_notifier_key). Sooner or later a CPU kept the breakpoint that the patching
// had put there for a moment, and all of the lab stood still in exc_int3.
func parallelTCG(ctx context.Context, program string) (bool, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return false, fmt.Errorf("%s --version: %w", program, err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(out), "QEMU emulator version %d.%d", &major, &minor); err != nil {
		return false, fmt.Errorf("%s --version: %q is no version of QEMU: %w", program, out, err)
	}
	return major > 8 || major == 8 && minor >= 1, nil
}
