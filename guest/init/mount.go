package guestinit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

const cgroupRoot = "/sys/fs/cgroup"

// earlyMounts are what init itself cannot do without.
var earlyMounts = []config.Mount{
	{Source: "proc", Target: "/proc", Type: "proc", Options: "nosuid,nodev,noexec"},
	{Source: "sysfs", Target: "/sys", Type: "sysfs", Options: "nosuid,nodev,noexec"},
	{Source: "devtmpfs", Target: "/dev", Type: "devtmpfs", Options: "nosuid,mode=0755"},
}

// lateMounts are made in the final root. An optional one is left out where the kernel lacks it.
var lateMounts = []config.Mount{
	{Source: "devpts", Target: "/dev/pts", Type: "devpts", Options: "nosuid,noexec,gid=5,mode=0620,ptmxmode=0666"},
	{Source: "tmpfs", Target: "/dev/shm", Type: "tmpfs", Options: "nosuid,nodev,mode=1777"},
	{Source: "mqueue", Target: "/dev/mqueue", Type: "mqueue", Options: "nosuid,nodev,noexec", Optional: true},
	{Source: "tmpfs", Target: "/run", Type: "tmpfs", Options: "nosuid,nodev,mode=0755"},
	{Source: "cgroup2", Target: cgroupRoot, Type: "cgroup2", Options: "nosuid,nodev,noexec,nsdelegate", Optional: true},
	{Source: "bpf", Target: "/sys/fs/bpf", Type: "bpf", Options: "nosuid,nodev,noexec,mode=0700", Optional: true},
	{Source: "debugfs", Target: "/sys/kernel/debug", Type: "debugfs", Options: "nosuid,nodev,noexec", Optional: true},
	{Source: "tracefs", Target: "/sys/kernel/tracing", Type: "tracefs", Options: "nosuid,nodev,noexec", Optional: true},
	{Source: "securityfs", Target: "/sys/kernel/security", Type: "securityfs", Options: "nosuid,nodev,noexec", Optional: true},
}

// tmpMount is for a root of init's own. A root from the host keeps its /tmp: that is where its tests lie.
var tmpMount = config.Mount{Source: "tmpfs", Target: "/tmp", Type: "tmpfs", Options: "nosuid,nodev,mode=1777"}

// mountAll makes the mounts in order and stops at the first that fails.
func mountAll(mounts []config.Mount) error {
	for _, m := range mounts {
		if err := mount(m); err != nil {
			return err
		}
	}
	return nil
}

// mount makes one mount, and the folder for it.
func mount(m config.Mount) error {
	err := mountNow(m)
	if m.Optional && (errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount %s (%s) at %s: %w", m.Source, m.Type, m.Target, err)
	}
	return nil
}

func mountNow(m config.Mount) error {
	flags, data := mountOptions(m.Options)
	switch m.Type {
	case "bind":
		return bind(m, unix.MS_BIND, flags)
	case "rbind":
		return bind(m, unix.MS_BIND|unix.MS_REC, flags)
	}
	if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return err
	}
	err := unix.Mount(m.Source, m.Target, m.Type, flags, data)
	if errors.Is(err, unix.EBUSY) && m.Source == m.Type && mountedAs(m.Target, m.Type) {
		return nil // CONFIG_DEVTMPFS_MOUNT, or a second run of init on the same tree
	}
	return err
}

// bind makes a bind mount. The kernel ignores other flags in the first call and wants them in a second.
func bind(m config.Mount, how, flags uintptr) error {
	if err := makeMountPoint(m.Source, m.Target); err != nil {
		return err
	}
	if err := unix.Mount(m.Source, m.Target, "", how, ""); err != nil || flags == 0 {
		return err
	}
	return unix.Mount("", m.Target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
}

// makeMountPoint makes a folder for a folder, and a file for anything else.
func makeMountPoint(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// mountFlags are the options of mount(8) that are flags of mount(2) and not the file system's own.
var mountFlags = map[string]struct{ set, clear uintptr }{
	"defaults":    {},
	"ro":          {set: unix.MS_RDONLY},
	"rw":          {clear: unix.MS_RDONLY},
	"nosuid":      {set: unix.MS_NOSUID},
	"suid":        {clear: unix.MS_NOSUID},
	"nodev":       {set: unix.MS_NODEV},
	"dev":         {clear: unix.MS_NODEV},
	"noexec":      {set: unix.MS_NOEXEC},
	"exec":        {clear: unix.MS_NOEXEC},
	"sync":        {set: unix.MS_SYNCHRONOUS},
	"async":       {clear: unix.MS_SYNCHRONOUS},
	"dirsync":     {set: unix.MS_DIRSYNC},
	"noatime":     {set: unix.MS_NOATIME},
	"atime":       {clear: unix.MS_NOATIME},
	"nodiratime":  {set: unix.MS_NODIRATIME},
	"diratime":    {clear: unix.MS_NODIRATIME},
	"relatime":    {set: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME},
	"lazytime":    {set: unix.MS_LAZYTIME},
	"nosymfollow": {set: unix.MS_NOSYMFOLLOW},
}

// mountOptions splits mount(8)'s options into mount(2)'s flags and data.
func mountOptions(options string) (flags uintptr, data string) {
	var rest []string
	for option := range strings.SplitSeq(options, ",") {
		flag, known := mountFlags[option]
		switch {
		case known:
			flags = flags&^flag.clear | flag.set
		case option != "":
			rest = append(rest, option)
		}
	}
	return flags, strings.Join(rest, ",")
}
