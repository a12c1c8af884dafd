package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/plan"
	"tandem/network"
	"tandem/network/resolv"
)

// boxNetwork is a box's network, on the way to the engine.
type boxNetwork struct {
	mode     network.Mode
	path     string // of the namespace to join; empty is a new one, or the host's
	hostname string
	mounts   []specs.Mount
	setup    *network.Setup // nil if there is nothing to set up
	record   *Record
	pid      *int
}

// networkFolder is where the bridges of a home keep their leases.
const networkFolder = "network"

// hostFiles are the files in /etc that tell a box who it is and whom to ask for others.
var hostFiles = []string{"hosts", "hostname", "resolv.conf"}

// planNetwork works out what the box's network takes. It changes nothing.
func (r *Record) planNetwork(ctx context.Context) (*boxNetwork, error) {
	o := &r.Options
	n := &boxNetwork{mode: o.mode(os.Geteuid() == 0), hostname: o.Hostname, record: r}
	from := r // whose files the box has
	switch n.mode.Kind {
	case network.ModePath:
		n.path = n.mode.Value
	case network.ModeHost:
		if name, err := os.Hostname(); n.hostname == "" && err == nil {
			n.hostname = name
		}
	case network.ModeContainer:
		other, err := r.home.Find(n.mode.Value)
		if err != nil {
			return nil, fmt.Errorf("--network %v: %w", n.mode, err)
		}
		if s := other.Status(); s != Running && s != Paused {
			return nil, fmt.Errorf("--network %v: %w, but %s", n.mode, ErrStopped, s)
		}
		n.path = fmt.Sprintf("/proc/%d/ns/net", other.PID)
		if n.hostname, err = other.hostname(); err != nil {
			return nil, fmt.Errorf("--network %v: %w", n.mode, err)
		}
		from = other
	case network.ModeBridge:
		ports, err := r.published()
		if err != nil {
			return nil, err
		}
		n.setup, err = network.Prepare(ctx, network.Spec{
			ID: r.ID, Mode: n.mode, State: filepath.Join(r.home.Run, networkFolder), NetNS: "/proc/PID/ns/net", OpenNetNS: n.open, Ports: ports,
			Called: r.home.called,
		})
		if err != nil {
			return nil, err
		}
	}
	if n.hostname == "" {
		n.hostname = ShortID(r.ID)
	}
	for _, name := range hostFiles {
		n.mounts = append(n.mounts, specs.Mount{
			Type: "bind", Source: from.file(name), Destination: "/etc/" + name, Options: []string{"bind", "rprivate"},
		})
	}
	return n, nil
}

// called is how a user knows a box, if it is one.
func (h *Home) called(id string) string {
	if r, err := h.load(id); err == nil {
		return "container " + r.Name
	}
	return id
}

// hostname is that of a box that runs.
func (r *Record) hostname() (string, error) {
	c, err := r.Container()
	if err != nil {
		return "", err
	}
	config, err := c.Config()
	if err != nil {
		return "", err
	}
	return config.Hostname, nil
}

func (n *boxNetwork) open() (*os.File, error) {
	if n.pid == nil {
		return nil, errors.New("box: there is no process yet")
	}
	return os.Open(fmt.Sprintf("/proc/%d/ns/net", *n.pid))
}

// prepare gives the engine the steps that are taken when the process is in its network namespace.
func (n *boxNetwork) prepare(pid *int) []plan.Phase {
	n.pid = pid
	if n.setup == nil {
		return nil
	}
	r := n.record
	attached := plan.Phase{Name: "put the network on record", Steps: []plan.Step{
		{
			Op: "write", Object: r.file(recordFile), Why: "what is to be taken down when the box has ended",
			Do: func() error {
				r.Network = n.setup.Attachment()
				return r.save()
			},
			Undo: func() error {
				r.Network = nil
				return r.save()
			},
		},
		{
			Op: "write", Object: r.file("hosts"), Why: "the box knows its own name by its address",
			Do: func() error { return r.writeHostFiles(n) },
		},
	}}
	return append(n.setup.Phases(), attached)
}

// writeHostFiles fills the files that are bound into /etc. They stay the same files: the engine may hold them already.
func (r *Record) writeHostFiles(n *boxNetwork) error {
	o := &r.Options
	s := resolv.Spec{Hostname: n.hostname, Servers: o.DNS, Search: o.DNSSearch, Options: o.DNSOptions, Extra: o.AddHosts}
	ownLoopback := n.mode.Kind == network.ModeHost || n.mode.Kind == network.ModePath
	var err error
	if s.HostResolvConf, err = resolv.ReadHost(ownLoopback); err != nil {
		return err
	}
	s.KeepLoopback = ownLoopback
	if n.mode.Kind == network.ModeHost {
		if s.HostHosts, err = os.ReadFile("/etc/hosts"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.IPv6 = true
	}
	switch a := r.Network; {
	case a == nil && n.setup != nil:
		s.Extra = nil // written with the rest, when the gateway is known that they may mean
	case a != nil:
		for _, p := range a.Addresses {
			s.Addresses = append(s.Addresses, p.Addr())
			s.IPv6 = s.IPv6 || p.Addr().Is6()
		}
		if len(a.Gateways) > 0 {
			s.Gateway = a.Gateways[0]
		}
	}
	files, err := resolv.Make(s)
	if err != nil {
		return err
	}
	if r.Network != nil {
		r.Network.Notes = append(r.Network.Notes, files.Notes...)
	}
	for name, text := range map[string][]byte{"hosts": files.Hosts, "hostname": files.Hostname, "resolv.conf": files.ResolvConf} {
		if err := os.WriteFile(r.file(name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
