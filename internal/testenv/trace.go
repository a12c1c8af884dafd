package testenv

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const btfFile = "/sys/kernel/btf/vmlinux"

func checkBTF() error {
	f, err := os.Open(btfFile)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkKprobes opens a probe as perf does.
func checkKprobes() error {
	text, err := os.ReadFile("/sys/bus/event_source/devices/kprobe/type")
	if err != nil {
		return err
	}
	var kind uint32
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &kind); err != nil {
		return err
	}
	fd, err := openKprobe(kind, "vfs_read")
	if err != nil {
		return fmt.Errorf("perf_event_open of a kprobe: %w", err)
	}
	return unix.Close(fd)
}

// checkFentry attaches an empty program to the function that the kernel keeps for testing just that. A locked-down
// kernel, or one that cannot patch its text, loads the program and refuses to attach it.
func checkFentry() error {
	if err := checkBTF(); err != nil {
		return err
	}
	const function = "bpf_fentry_test1" // net/bpf/test_run.c
	btf, err := os.ReadFile(btfFile)
	if err != nil {
		return err
	}
	id, err := btfFunction(btf, function)
	if err != nil {
		return fmt.Errorf("%s: %w", btfFile, err)
	}
	program, err := loadFentry(id)
	if err != nil {
		return fmt.Errorf("load of an fentry program: %w", err)
	}
	defer unix.Close(program)
	link, err := attachTracing(program)
	if err != nil {
		return fmt.Errorf("fentry attach to %s: %w", function, err)
	}
	return unix.Close(link)
}
