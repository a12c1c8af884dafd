package box

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container/image"
	"tandem/internal/signals"
	"tandem/network"
	"tandem/network/port"
	"tandem/network/resolv"
)

// Options are what a user asks for, as the flags of `tandem run` have it. They are kept in the box's record, from which
// its keeper works.
type Options struct {
	Image      string   `json:"image,omitempty"`
	Rootfs     string   `json:"rootfs,omitempty"` // a folder of the host instead, absolute; nothing is written to it
	Command    []string `json:"command,omitempty"`
	Entrypoint *string  `json:"entrypoint,omitempty"` // in the place of the image's; "" is none

	Name     string            `json:"name,omitempty"`
	Hostname string            `json:"hostname,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Detach   bool              `json:"detach,omitempty"`
	Remove   bool              `json:"remove,omitempty"` // as soon as it has ended

	Interactive bool     `json:"interactive,omitempty"` // it reads standard input
	StdinOnce   bool     `json:"stdinOnce,omitempty"`   // which ends when that of somebody who is attached does
	TTY         bool     `json:"tty,omitempty"`
	Env         []string `json:"env,omitempty"` // NAME=VALUE
	User        string   `json:"user,omitempty"`
	Groups      []string `json:"groups,omitempty"`
	Workdir     string   `json:"workdir,omitempty"`

	Limits
	Restart RestartPolicy `json:"restart,omitzero"`

	Ulimits     []specs.POSIXRlimit `json:"ulimits,omitempty"`
	Devices     []Device            `json:"devices,omitempty"`
	Mounts      []specs.Mount       `json:"mounts,omitempty"`      // of -v, --mount and --tmpfs, and of the containers below
	VolumesFrom []string            `json:"volumesFrom,omitempty"` // CONTAINER[:ro]
	ReadOnly    bool                `json:"readOnly,omitempty"`
	ShmSize     int64               `json:"shmSize,omitempty"`
	Sysctl      map[string]string   `json:"sysctl,omitempty"`

	CapAdd          []string            `json:"capAdd,omitempty"`
	CapDrop         []string            `json:"capDrop,omitempty"`
	Unconfined      bool                `json:"seccompUnconfined,omitempty"`
	Seccomp         *specs.LinuxSeccomp `json:"seccomp,omitempty"`  // nil is the default profile
	AppArmor        string              `json:"apparmor,omitempty"` // a profile that is loaded
	NoNewPrivileges bool                `json:"noNewPrivileges,omitempty"`
	Privileged      bool                `json:"privileged,omitempty"` // all that root has on the host
	Init            bool                `json:"init,omitempty"`       // tandem reaps and passes signals on, as its first process
	OOMScoreAdj     int                 `json:"oomScoreAdj,omitempty"`

	PID string `json:"pid,omitempty"` // whose namespace it is in: empty is its own, or host, container:NAME
	IPC string `json:"ipc,omitempty"`
	UTS string `json:"uts,omitempty"`

	Network    *network.Mode  `json:"network,omitempty"` // nil is the default one
	Ports      []port.Mapping `json:"ports,omitempty"`
	Exposed    []port.Exposed `json:"exposed,omitempty"`    // beside the image's
	PublishAll bool           `json:"publishAll,omitempty"` // of those exposed
	DNS        []netip.Addr   `json:"dns,omitempty"`
	DNSSearch  []string       `json:"dnsSearch,omitempty"`
	DNSOptions []string       `json:"dnsOptions,omitempty"`
	AddHosts   []string       `json:"addHosts,omitempty"` // NAME:ADDRESS

	Health      *image.Healthcheck `json:"healthcheck,omitempty"` // what it does not say, the image does
	StopSignal  string             `json:"stopSignal,omitempty"`
	StopTimeout int                `json:"stopTimeout"` // seconds
}

// ErrOption is in each error of Check.
var ErrOption = errors.New("invalid option")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOption, fmt.Sprintf(format, args...))
}

// Check refuses what can be known to be wrong from the options alone.
func (o *Options) Check() error {
	switch {
	case o.Image == "" && o.Rootfs == "":
		return wrong("the image is missing, or --rootfs in its place")
	case o.Image != "" && o.Rootfs != "":
		return wrong("an image (%s) and --rootfs: run which?", o.Image)
	case o.Rootfs != "" && !path.IsAbs(o.Rootfs):
		return wrong("--rootfs %q is not absolute", o.Rootfs)
	case o.Workdir != "" && !path.IsAbs(o.Workdir):
		return wrong("--workdir %q is not absolute", o.Workdir)
	case o.Restart.Name != "" && o.Remove:
		return wrong("--restart %s with --rm: it would be gone", o.Restart)
	case o.Restart.Name != "" && !o.Detach:
		return wrong("--restart %s without --detach: a container in the foreground ends with tandem", o.Restart)
	case o.OOMScoreAdj < -1000 || o.OOMScoreAdj > 1000:
		return wrong("--oom-score-adj %d: want -1000 to 1000", o.OOMScoreAdj)
	case o.StopTimeout < 0:
		return wrong("--stop-timeout %d: want 0 seconds or more", o.StopTimeout)
	}
	if o.Name != "" {
		if err := CheckName(o.Name); err != nil {
			return err
		}
	}
	return errors.Join(o.Limits.Check(), o.checkHostname(), o.checkNamespaces(), o.checkEnv(), o.checkPorts(), o.checkVolumesFrom(), checkHealth(o.Health),
		o.checkHosts(), o.checkStopSignal())
}

func (o *Options) checkHostname() error {
	const max = 64 // HOST_NAME_MAX
	if len(o.Hostname) > max || strings.ContainsAny(o.Hostname, "/ \t\n\x00") {
		return wrong("--hostname %q: want up to %d characters, no blank and no slash", o.Hostname, max)
	}
	if o.Hostname != "" && o.Network != nil && o.Network.Kind == network.ModeContainer {
		return wrong("--hostname with --network container:%s, whose name the box has", o.Network.Value)
	}
	return nil
}

func (o *Options) checkEnv() error {
	for _, e := range o.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			return wrong("--env %q: want NAME=VALUE, or NAME for this process's value", e)
		}
	}
	return nil
}

func (o *Options) checkPorts() error {
	switch {
	case o.Network == nil || o.Network.Kind == network.ModeBridge || len(o.Ports) == 0 && !o.PublishAll:
		return nil
	case o.PublishAll:
		return wrong("--publish-all with --network %v: ports are published by a bridge", o.Network)
	}
	return wrong("--publish %v with --network %v: ports are published by a bridge", o.Ports[0], o.Network)
}

func (o *Options) checkHosts() error {
	for _, host := range o.AddHosts {
		// Which address the gateway has is known later.
		s := resolv.Spec{Hostname: "box", Gateway: netip.IPv4Unspecified(), Extra: []string{host}}
		if _, err := resolv.Make(s); err != nil {
			return wrong("--add-host: %v", err)
		}
	}
	return nil
}

func (o *Options) checkStopSignal() error {
	if o.StopSignal == "" {
		return nil
	}
	if _, err := signals.Parse(o.StopSignal); err != nil {
		return wrong("--stop-signal: %v", err)
	}
	return nil
}

// Mode is the network that the box has, or will have.
func (r *Record) Mode() network.Mode { return r.Options.mode(os.Geteuid() == 0) }

// mode is the network that the options come to. The default is the bridge, for who may make one.
func (o *Options) mode(root bool) network.Mode {
	switch {
	case o.Network != nil:
		return *o.Network
	case !root:
		return network.Mode{Kind: network.ModeNone}
	}
	return network.Mode{}
}
