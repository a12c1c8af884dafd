package box

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/seccomp"
)

// usualCapabilities are docker's.
var usualCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
	"CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// capabilities are the usual ones with what is added and without what is dropped. ALL stands for all, on either side.
func (o *Options) capabilities() ([]string, error) {
	known := knownCapabilities()
	have := slices.Clone(usualCapabilities)
	if o.Privileged {
		have = ownCapabilities()
	}
	add, err := readCapabilities("--cap-add", o.CapAdd, known)
	if err != nil {
		return nil, err
	}
	drop, err := readCapabilities("--cap-drop", o.CapDrop, known)
	if err != nil {
		return nil, err
	}
	if slices.Contains(add, allCapabilities) {
		have = ownCapabilities()
	}
	if slices.Contains(drop, allCapabilities) {
		have = nil
	}
	for _, name := range add {
		if name != allCapabilities && !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	have = slices.DeleteFunc(have, func(name string) bool { return slices.Contains(drop, name) })
	slices.Sort(have)
	return have, nil
}

const allCapabilities = "ALL"

func knownCapabilities() []string {
	var names []string
	for _, c := range capability.ListKnown() {
		names = append(names, "CAP_"+strings.ToUpper(c.String()))
	}
	return names
}

// ownCapabilities are all that there are for anybody whom this process starts: those of its bounding set.
func ownCapabilities() []string {
	var names []string
	for i, c := range capability.ListKnown() {
		if set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err == nil && set == 1 {
			names = append(names, knownCapabilities()[i])
		}
	}
	return names
}

func readCapabilities(flag string, words, known []string) ([]string, error) {
	var names []string
	for _, word := range words {
		name := strings.ToUpper(word)
		if name != allCapabilities && !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		if name != allCapabilities && !slices.Contains(known, name) {
			return nil, wrong("%s %q: there is no such capability", flag, word)
		}
		names = append(names, name)
	}
	return names, nil
}

// SetSecurity reads a value of --security-opt.
func (o *Options) SetSecurity(text string) error {
	key, value, given := strings.Cut(text, "=")
	if !given {
		key, value, given = strings.Cut(text, ":") // as docker once had it
	}
	switch {
	case key == "no-new-privileges" && (!given || value == "true"):
		o.NoNewPrivileges = true
	case key == "no-new-privileges" && value == "false":
		o.NoNewPrivileges = false
	case key == "seccomp" && value == "unconfined":
		o.Unconfined, o.Seccomp = true, nil
	case key == "seccomp" && value != "":
		profile, err := readSeccomp(value)
		if err != nil {
			return fmt.Errorf("--security-opt seccomp: %w", err)
		}
		o.Unconfined, o.Seccomp = false, profile
	case key == "apparmor" && value != "":
		o.AppArmor = value
	case key == "label":
		return wrong("--security-opt %q: tandem run leaves SELinux as the host has it", text)
	default:
		return wrong("--security-opt %q: want seccomp=FILE, seccomp=unconfined, apparmor=PROFILE or no-new-privileges", text)
	}
	return nil
}

// readSeccomp reads a profile as the runtime specification has it, linux.seccomp of config.json.
func readSeccomp(path string) (*specs.LinuxSeccomp, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	profile := new(specs.LinuxSeccomp)
	if err := d.Decode(profile); err != nil {
		return nil, fmt.Errorf("%s: %w: want linux.seccomp of the runtime specification", path, err)
	}
	if _, err := seccomp.Compile(profile); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return profile, nil
}

// profile is the filter of system calls that the options come to.
func (o *Options) profile(capabilities []string) (*specs.LinuxSeccomp, error) {
	switch {
	case o.Seccomp != nil:
		return o.Seccomp, nil
	case o.Unconfined || o.Privileged:
		return nil, nil
	}
	return seccomp.Default(capabilities)
}

// What of /proc and /sys tells of the host, or changes it. The lists are docker's.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)
