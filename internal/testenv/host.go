package testenv

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func checkRoot() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("running as uid %d", uid)
	}
	return nil
}

func checkCapability(number uint) func() error {
	return func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var has [2]unix.CapUserData
		if err := unix.Capget(&header, &has[0]); err != nil {
			return os.NewSyscallError("capget", err)
		}
		if has[number/32].Effective&(1<<(number%32)) == 0 {
			return fmt.Errorf("running without capability %d", number)
		}
		return nil
	}
}

func checkProgram(name string) func() error {
	return func() error {
		_, err := exec.LookPath(name)
		return err
	}
}

func checkFile(path string) func() error {
	return func() error {
		_, err := os.Stat(path)
		return err
	}
}

func checkOpen(path string) func() error {
	return func() error {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}
}

// checkUserXattr tells whether files in the temporary folder can have user.* attributes: those on a tmpfs can since Linux 6.6.
func checkUserXattr() error {
	f, err := os.CreateTemp("", "xattr")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return os.NewSyscallError("fsetxattr "+os.TempDir(), unix.Fsetxattr(int(f.Fd()), "user.tandem", []byte("1"), 0))
}

// checkBusybox wants the static one: it goes into initramfs archives, where no library is.
func checkBusybox() error {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s is not static", path)
	}
	return nil
}

func checkNetNS() error   { return tryNamespace(syscall.CLONE_NEWNET) }
func checkMountNS() error { return tryNamespace(syscall.CLONE_NEWNS) }

// checkUserNS maps the caller to root inside, as an unprivileged container does.
func checkUserNS() error { return tryNamespace(syscall.CLONE_NEWUSER) }

// tryNamespace starts a process in a namespace of its own, so that this one is left as it was.
func tryNamespace(flag uintptr) error {
	attr := &syscall.SysProcAttr{Cloneflags: flag}
	if flag == syscall.CLONE_NEWUSER {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd := exec.Command("true")
	cmd.SysProcAttr = attr
	return cmd.Run()
}

func checkFilesystem(name string) func() error {
	return func() error {
		f, err := os.Open("/proc/filesystems")
		if err != nil {
			return err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if fields := strings.Fields(lines.Text()); len(fields) > 0 && fields[len(fields)-1] == name {
				return nil
			}
		}
		return fmt.Errorf("%s is not in /proc/filesystems", name)
	}
}

// checkCgroup1 wants the hierarchies of version 1 that limit what a container uses.
func checkCgroup1() error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
	if err != nil {
		return err
	}
	for _, controller := range []string{"memory", "pids", "cpu"} {
		if !slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool {
			return slices.Contains(strings.Split(m.VFSOptions, ","), controller)
		}) {
			return fmt.Errorf("no version 1 hierarchy has the %s controller", controller)
		}
	}
	return nil
}

// checkCgroup2 wants the controllers in the unified hierarchy: a host may mount one that holds none of them.
func checkCgroup2() error {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil {
		return err
	}
	if len(mounts) == 0 {
		return errors.New("no cgroup2 mount")
	}
	list, err := os.ReadFile(filepath.Join(mounts[0].Mountpoint, "cgroup.controllers"))
	if err != nil {
		return err
	}
	has := strings.Fields(string(list))
	for _, controller := range []string{"memory", "pids", "cpu"} {
		if !slices.Contains(has, controller) {
			return fmt.Errorf("%s lacks the %s controller", mounts[0].Mountpoint, controller)
		}
	}
	return nil
}

// checkLoop wants loop devices. The lab's kernel has them as a module, and may be asked to load it.
func checkLoop() error {
	const path = "/dev/loop-control"
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv(InLab) != "" {
		if out, err := exec.Command("modprobe", "loop").CombinedOutput(); err != nil {
			return fmt.Errorf("modprobe loop: %w: %s", err, out)
		}
	}
	return checkOpen(path)()
}

// checkHugePages wants a few free pages of 2 MiB in the pool.
func checkHugePages() error {
	const file, few = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 8
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var free int
	if _, err := fmt.Sscan(string(text), &free); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if free < few {
		return fmt.Errorf("%d huge pages of 2 MiB are free, want %d", free, few)
	}
	return nil
}
