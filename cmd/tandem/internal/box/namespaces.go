package box

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/network"
)

// What --pid, --ipc and --uts take beside nothing, which is a namespace of the box's own.
const (
	sharedHost    = "host"
	sharedPrivate = "private"
	sharedBox     = "container:"
)

func checkShared(flag, value string, boxes bool) error {
	name, other := strings.CutPrefix(value, sharedBox)
	switch {
	case value == "" || value == sharedHost || value == sharedPrivate, other && boxes && name != "":
		return nil
	case boxes:
		return wrong("--%s %q: want host, private or container:NAME", flag, value)
	}
	return wrong("--%s %q: want host or private", flag, value)
}

func (o *Options) checkNamespaces() error {
	for _, err := range []error{checkShared("pid", o.PID, true), checkShared("ipc", o.IPC, true), checkShared("uts", o.UTS, false)} {
		if err != nil {
			return err
		}
	}
	if o.UTS == sharedHost && o.Hostname != "" {
		return wrong("--hostname %q with --uts host, whose name it would change", o.Hostname)
	}
	return nil
}

// namespaces are the box's own, and those that it joins. What is not in the list it shares with the host.
func (r *Record) namespaces(n *boxNetwork) ([]specs.LinuxNamespace, error) {
	o := &r.Options
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace}}
	for _, s := range []struct {
		kind       specs.LinuxNamespaceType
		flag, file string
		value      string
	}{{specs.PIDNamespace, "pid", "pid", o.PID}, {specs.IPCNamespace, "ipc", "ipc", o.IPC}, {specs.UTSNamespace, "uts", "uts", o.UTS}} {
		if s.value == sharedHost {
			continue
		}
		ns := specs.LinuxNamespace{Type: s.kind}
		if name, other := strings.CutPrefix(s.value, sharedBox); other {
			pid, err := r.home.pidOf(name)
			if err != nil {
				return nil, fmt.Errorf("--%s %s: %w", s.flag, s.value, err)
			}
			ns.Path = fmt.Sprintf("/proc/%d/ns/%s", pid, s.file)
		}
		list = append(list, ns)
	}
	if n.mode.Kind != network.ModeHost {
		list = append(list, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: n.path})
	}
	return list, nil
}

// pidOf is the first process of a box that runs.
func (h *Home) pidOf(name string) (int, error) {
	other, err := h.Find(name)
	if err != nil {
		return 0, err
	}
	if s := other.Status(); s != Running && s != Paused {
		return 0, fmt.Errorf("%w, but %s", ErrStopped, s)
	}
	return other.PID, nil
}
