package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// A guest is what every monitor is asked to run.
type guest struct {
	kernel, initrd, cmdline string
	memory                  int // MiB
}

// A monitor is one of the programs that are compared.
type monitor struct {
	name string
	path string
	args func(g guest) []string
}

const gokvmPackage = "github.com/bobuhiro11/gokvm"

// findMonitors gives tandem and those of its peers that are to be had here, and says which are not and why.
func findMonitors(o options, dir string) (found []monitor, missing []string) {
	found = append(found, monitor{"tandem", o.tandem, tandemArgs})
	if path, err := exec.LookPath("qemu-system-x86_64"); err == nil {
		found = append(found, monitor{"QEMU microvm", path, qemuArgs})
	} else {
		missing = append(missing, "QEMU microvm: "+err.Error()+" (Debian's qemu-system-x86)")
	}
	if path, err := findGokvm(o, dir); err == nil {
		found = append(found, monitor{"gokvm", path, gokvmArgs})
	} else {
		missing = append(missing, "gokvm: "+err.Error())
	}
	return found, missing
}

func tandemArgs(g guest) []string {
	args := []string{
		"vm", "run", "--accel", "kvm", "--kernel", g.kernel, "--memory", strconv.Itoa(g.memory) + "M",
		"--console", "stdio", "--append", g.cmdline,
	}
	if g.initrd != "" {
		args = append(args, "--initrd", g.initrd)
	}
	return args
}

func qemuArgs(g guest) []string {
	args := []string{
		"-M", "microvm,rtc=on", "-accel", "kvm", "-cpu", "host", "-m", strconv.Itoa(g.memory),
		"-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
		"-kernel", g.kernel, "-append", g.cmdline,
	}
	if g.initrd != "" {
		args = append(args, "-initrd", g.initrd)
	}
	return args
}

func gokvmArgs(g guest) []string {
	args := []string{"boot", "-c", "1", "-m", strconv.Itoa(g.memory) + "M", "-k", g.kernel, "-p", g.cmdline}
	if g.initrd != "" {
		args = append(args, "-i", g.initrd)
	}
	return args
}

func findGokvm(o options, dir string) (string, error) {
	if o.gokvm != "" {
		return o.gokvm, nil
	}
	return buildGokvm(dir)
}

// buildGokvm builds the peer in a module of its own, at the version that go.mod names for its types.
func buildGokvm(dir string) (string, error) {
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", gokvmPackage).Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w", gokvmPackage, err)
	}
	target := gokvmPackage + "@" + string(version[:len(version)-1])
	install := exec.Command("go", "install", target)
	install.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w: %s", target, err, out)
	}
	return dir + "/gokvm", nil
}
