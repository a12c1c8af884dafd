package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"

	"tandem/kvm"
)

// KeepVerb is the command of tandem's, under "lab", that calls Keep.
const KeepVerb = "keep"

// kept is what that command prints when the VMs are there.
const kept = "kept"

// Keep makes two VMs that do nothing, says so on w, and keeps them until ctx ends. It runs in the lab, for all of the
// lab's life, if QEMU cannot run code that is being patched (see runsPatchedCode).
//
// KVM turns branches of the kernel on with the first VM of a kind and off with the last: preempt_notifier_key for any,
// kvm_has_noapic_vcpu for a vCPU without an interrupt controller in the kernel, apic_sw_disabled for one whose
// controller nobody has turned on. With one of each that stays, nothing is patched when others come and go.
func Keep(ctx context.Context, w io.Writer) error {
	sys, err := kvm.Open()
	if err != nil {
		return err
	}
	defer sys.Close()
	for _, irqchip := range []bool{false, true} {
		vm, err := sys.CreateVM()
		if err != nil {
			return err
		}
		defer vm.Close()
		if irqchip {
			if err := vm.CreateIRQChip(); err != nil {
				return err
			}
		}
		cpu, err := vm.CreateVCPU(0)
		if err != nil {
			return err
		}
		defer cpu.Close()
	}
	fmt.Fprintln(w, kept)
	<-ctx.Done()
	return nil
}

// keep starts Keep in the lab. It ends with the agent's session.
func (m *machine) keep(ctx context.Context) error {
	// Init is tandem, and its file is there though the initramfs it came from is not.
	cmd := m.agent.Command(context.WithoutCancel(ctx), "/proc/1/exe", "lab", KeepVerb)
	out, in := io.Pipe()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = in, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		in.Close()
	}()
	stop := context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })
	defer stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if line == kept+"\n" {
		return nil
	}
	if ctx.Err() == nil {
		err = <-ended
	}
	return fmt.Errorf("keep a VM in the lab: %w: %s", err, said.Bytes())
}

// runsPatchedCode tells whether QEMU executes code right that another CPU patches.
//
// Before QEMU 8.1 it may not, with a thread for each CPU (TCG): a thread could read instructions for translation while
// another wrote them, and keep the stale translation for ever. Linux patches its own branches while it runs, with a
// breakpoint in their place for a moment; a CPU that kept the breakpoint stood still in exc_int3, and soon all of the
// lab did.
func runsPatchedCode(ctx context.Context, program string) (bool, error) {
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
