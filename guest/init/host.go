package guestinit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open file limits of what runs in the guest. The kernel starts pid 1 with 1024 and 4096.
const (
	softFiles = 8192
	hardFiles = 1 << 20
)

func raiseLimits() error {
	// Of package syscall: it then leaves the limit as it is when it starts a program.
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: softFiles, Max: hardFiles})
	if err != nil {
		return fmt.Errorf("set open file limit: %w", err)
	}
	return nil
}

func setHostname(name string) error {
	if name == "" {
		return nil
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set hostname %q: %w", name, err)
	}
	return nil
}

// writeHosts makes the machine's own name resolvable.
func writeHosts(path, hostname string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text := missingHosts(string(old), hostname)
	if text == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// missingHosts is what has to be added to /etc/hosts.
func missingHosts(old, hostname string) string {
	known := make(map[string]bool)
	for line := range strings.Lines(old) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 1 {
			for _, name := range fields[1:] {
				known[name] = true
			}
		}
	}
	var add strings.Builder
	if old != "" && !strings.HasSuffix(old, "\n") {
		add.WriteString("\n")
	}
	empty := add.Len()
	if !known["localhost"] {
		add.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	}
	if hostname != "" && !known[hostname] {
		add.WriteString("127.0.1.1\t" + hostname + "\n")
	}
	if add.Len() == empty {
		return ""
	}
	return add.String()
}

// writeAccounts names uid 0 and the group of terminals where nobody has, and makes root's home.
func writeAccounts(etc, home string) error {
	for name, text := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"group":  "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
	} {
		path := filepath.Join(etc, name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		f.Close()
		if err != nil {
			return err
		}
	}
	if err := os.Mkdir(home, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// loopbackUp brings lo up, in whatever network namespace this is. The kernel gives it its addresses.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return fmt.Errorf("lo: get flags: %w", err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("lo: set up: %w", err)
	}
	return nil
}

// enableControllers lets the root cgroup's children use the controllers that containers need.
func enableControllers(root string) error {
	have, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil // no cgroup2, which is optional
	}
	for _, controller := range strings.Fields(string(have)) {
		if !slices.Contains([]string{"cpuset", "cpu", "io", "memory", "pids"}, controller) {
			continue
		}
		err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0)
		if err != nil {
			return fmt.Errorf("cgroup: enable %s: %w", controller, err)
		}
	}
	return nil
}
