package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
)

// Device is one of the host's that the box may use.
type Device struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Access string `json:"access"` // of r, w and m
}

// ParseDevice reads the value of --device: SOURCE[:TARGET][:ACCESS].
func ParseDevice(text string) (Device, error) {
	parts := strings.Split(text, ":")
	d := Device{Source: parts[0], Target: parts[0], Access: "rwm"}
	isAccess := func(s string) bool { return s != "" && strings.Trim(s, "rwm") == "" }
	switch {
	case len(parts) == 2 && isAccess(parts[1]):
		d.Access = parts[1]
	case len(parts) == 2:
		d.Target = parts[1]
	case len(parts) == 3:
		d.Target, d.Access = parts[1], parts[2]
	}
	if len(parts) > 3 || !path.IsAbs(d.Source) || !path.IsAbs(d.Target) || !isAccess(d.Access) {
		return d, wrong("--device %q: want /dev/SOURCE[:/dev/TARGET][:rwm]", text)
	}
	return d, nil
}

// look reads which device it is.
func (d Device) look() (specs.LinuxDevice, specs.LinuxDeviceCgroup, error) {
	var stat unix.Stat_t
	fail := func(err error) (specs.LinuxDevice, specs.LinuxDeviceCgroup, error) {
		return specs.LinuxDevice{}, specs.LinuxDeviceCgroup{}, fmt.Errorf("--device: %w", err)
	}
	if err := unix.Stat(d.Source, &stat); err != nil {
		return fail(&fs.PathError{Op: "stat", Path: d.Source, Err: err})
	}
	kind := ""
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		kind = "c"
	case unix.S_IFBLK:
		kind = "b"
	default:
		return fail(fmt.Errorf("%s is no device", d.Source))
	}
	major, minor := int64(unix.Major(stat.Rdev)), int64(unix.Minor(stat.Rdev))
	mode := os.FileMode(stat.Mode & 0o7777)
	node := specs.LinuxDevice{Path: path.Clean(d.Target), Type: kind, Major: major, Minor: minor, FileMode: &mode, UID: &stat.Uid, GID: &stat.Gid}
	return node, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: d.Access}, nil
}

// hostDevices are all nodes below the host's /dev but what every container has of its own: terminals, and the usual ones.
func hostDevices(root string) (list []Device, err error) {
	own := []string{"pts", "shm", "mqueue", "fd", "console", "null", "zero", "full", "random", "urandom", "tty", "ptmx"}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went away meanwhile
		case err != nil:
			return err
		case filepath.Dir(path) == root && slices.Contains(own, d.Name()):
			if d.IsDir() {
				return filepath.SkipDir
			}
		case d.Type()&fs.ModeDevice != 0:
			list = append(list, Device{Source: path, Target: path, Access: "rwm"})
		}
		return nil
	})
	return list, err
}

// devices are the nodes to be made, and the rules of what may be used: nothing but what every container has, and those.
func (o *Options) devices() ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup, error) {
	rules := append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, cgroup.DefaultDevices()...)
	var nodes []specs.LinuxDevice
	all := o.Devices
	if o.Privileged {
		rules = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		host, err := hostDevices("/dev")
		if err != nil {
			return nil, nil, fmt.Errorf("--privileged: %w", err)
		}
		all = slices.Concat(host, all)
	}
	for _, d := range all {
		node, rule, err := d.look()
		if err != nil {
			return nil, nil, err
		}
		nodes, rules = append(nodes, node), append(rules, rule)
	}
	return nodes, rules, nil
}
