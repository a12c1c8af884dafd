package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newSpecCommand() *cobra.Command {
	var bundle, file string
	var rootless bool
	cmd := &cobra.Command{
		Use:   "spec [flags]",
		Short: "Write a configuration to begin with",
		Long: "Writes config.json for a container that runs a shell on a terminal, in a root file system in the folder\n" +
			"rootfs beside it, without a network. What is there already is left alone.",
		Example: "  mkdir -p hello/rootfs && podman export $(podman create busybox) | tar -C hello/rootfs -x\n" +
			"  tandem-oci spec --bundle hello && tandem-oci run --bundle hello hello",
		Args: arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			path := file
			if !filepath.IsAbs(path) {
				path = filepath.Join(bundle, path)
			}
			s := exampleSpec()
			if rootless {
				makeRootless(s, os.Geteuid(), os.Getegid())
			}
			return writeSpec(path, s)
		},
	}
	cmd.Flags().StringVarP(&bundle, "bundle", "b", ".", "write into the folder `DIR`")
	cmd.Flags().StringVarP(&file, "file", "f", "config.json", "write to `FILE`")
	cmd.Flags().BoolVar(&rootless, "rootless", false, "for a user without rights: root in the container is who calls this")
	return cmd
}

func writeSpec(path string, s *specs.Spec) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o666)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w: remove it first", err)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	return f.Close()
}

// exampleSpec shuts the container off from the host: every namespace but users', no devices beyond the usual, three
// capabilities, and none of /proc and /sys that tells of the host or changes it.
func exampleSpec() *specs.Spec {
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal:        true,
			Args:            []string{"sh"},
			Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
			Cwd:             "/",
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
			NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: "tandem",
		Mounts:   exampleMounts(),
		Linux: &specs.Linux{
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.CgroupNamespace},
			},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/scsi", "/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
				"/sys/firmware",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func exampleMounts() []specs.Mount {
	const nosuid, noexec, nodev = "nosuid", "noexec", "nodev"
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{nosuid, noexec, nodev}},
		{
			Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
			Options: []string{nosuid, "strictatime", "mode=755", "size=65536k"},
		},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{nosuid, noexec, "newinstance", "ptmxmode=0666", "mode=0620", ttyGroup},
		},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{nosuid, noexec, nodev, "mode=1777", "size=65536k"},
		},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{nosuid, noexec, nodev}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{nosuid, noexec, nodev, "ro"}},
		{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{nosuid, noexec, nodev, "relatime", "ro"},
		},
	}
}

// ttyGroup is the group of terminals in most distributions.
const ttyGroup = "gid=5"

// makeRootless changes what a user without rights cannot have: there is one user inside, so no group of terminals; a
// network namespace without one who may set it up is of no use; sysfs can be mounted by the owner of the network
// namespace alone, so the host's is bound; and cgroups belong to root.
func makeRootless(s *specs.Spec, uid, gid int) {
	var namespaces []specs.LinuxNamespace
	for _, n := range s.Linux.Namespaces {
		if n.Type != specs.NetworkNamespace && n.Type != specs.CgroupNamespace {
			namespaces = append(namespaces, n)
		}
	}
	s.Linux.Namespaces = append(namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(uid), Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(gid), Size: 1}}
	s.Linux.Resources = nil
	var mounts []specs.Mount
	for _, m := range s.Mounts {
		switch m.Destination {
		case "/sys/fs/cgroup":
			continue
		case "/sys":
			m.Type, m.Source, m.Options = "none", "/sys", []string{"rbind", "nosuid", "noexec", "nodev", "ro"}
		}
		for i, o := range m.Options {
			if o == ttyGroup {
				m.Options = append(m.Options[:i:i], m.Options[i+1:]...)
				break
			}
		}
		mounts = append(mounts, m)
	}
	s.Mounts = mounts
}
