package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/cmd/tandem/internal/box"
	"tandem/network"
)

func (l listed) docker() dockerContainer {
	o := &l.Options
	c := dockerContainer{
		Id: l.ID, Created: dockerTime(l.Created), State: l.dockerState(), Image: l.Image, Name: l.Name, RestartCount: l.Restarts, Driver: "overlay",
		Platform: "linux", Mounts: []dockerMount{}, Config: l.dockerConfig(), HostConfig: l.dockerHostConfig(), NetworkSettings: l.dockerNetwork(),
		ResolvConfPath: l.HostFile("resolv.conf"), HostnamePath: l.HostFile("hostname"), HostsPath: l.HostFile("hosts"), Args: []string{},
	}
	if len(l.Command) > 0 {
		c.Path, c.Args = l.Command[0], l.Command[1:]
	}
	if o.Detach {
		c.LogPath = l.LogFile()
	}
	for _, m := range o.Mounts {
		c.Mounts = append(c.Mounts, dockerMount{m.Type, m.Source, m.Destination, strings.Join(m.Options, ","), !slices.Contains(m.Options, "ro")})
	}
	return c
}

func (l listed) dockerState() dockerState {
	s := dockerState{
		Status: l.status, Running: l.status == box.Running || l.status == box.Paused, Paused: l.status == box.Paused,
		Restarting: l.status == box.Restarting, Dead: l.status == box.Dead, Pid: l.PID, StartedAt: dockerTime(l.Started), FinishedAt: dockerTime(time.Time{}),
	}
	exit := l.Exit
	if exit == nil && l.status == box.Restarting {
		exit = l.LastExit
	}
	if exit != nil {
		s.OOMKilled, s.ExitCode, s.Error, s.FinishedAt = exit.OOMKilled, exit.Status, exit.Error, dockerTime(exit.Finished)
	}
	if h := l.Health; h != nil {
		s.Health = &dockerHealth{h.Status, h.Failing, h.Log}
	}
	return s
}

// dockerTime has the year 1 for what was never.
func dockerTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (l listed) dockerConfig() dockerConfig {
	o, i := &l.Options, &l.ImageConfig
	c := dockerConfig{
		Hostname: o.Hostname, User: o.User, AttachStdin: o.Interactive && !o.Detach, AttachStdout: !o.Detach, OpenStdin: o.Interactive, StdinOnce: o.StdinOnce, Tty: o.TTY,
		Env: box.MergeEnv(i.Env, o.Env), Cmd: o.Command, Entrypoint: i.Entrypoint, Image: l.imageWords(), WorkingDir: o.Workdir,
		Labels: map[string]string{}, ExposedPorts: map[string]struct{}{}, StopSignal: o.StopSignal, StopTimeout: o.StopTimeout,
	}
	switch {
	case o.Entrypoint != nil && *o.Entrypoint != "":
		c.Entrypoint = []string{*o.Entrypoint}
	case o.Entrypoint != nil:
		c.Entrypoint = nil
	case len(o.Command) == 0:
		c.Cmd = i.Cmd
	}
	for _, v := range []struct {
		to    *string
		image string
	}{{&c.Hostname, box.ShortID(l.ID)}, {&c.User, i.User}, {&c.WorkingDir, i.WorkingDir}, {&c.StopSignal, i.StopSignal}} {
		if *v.to == "" {
			*v.to = v.image
		}
	}
	maps.Copy(c.Labels, i.Labels)
	maps.Copy(c.Labels, o.Labels)
	if list, err := l.Exposed(); err == nil { // an image may say anything
		for _, e := range list {
			c.ExposedPorts[e.String()] = struct{}{}
		}
	}
	return c
}

func (l listed) dockerHostConfig() dockerHostConfig {
	o := &l.Options
	h := dockerHostConfig{
		Binds: []string{}, NetworkMode: l.Mode().String(), PortBindings: map[string][]dockerPort{}, RestartPolicy: dockerRestart{"no", 0},
		AutoRemove: o.Remove, Privileged: o.Privileged, ReadonlyRootfs: o.ReadOnly, PublishAllPorts: o.PublishAll, Init: o.Init,
		CapAdd: o.CapAdd, CapDrop: o.CapDrop, Memory: o.Memory, MemorySwap: o.MemorySwap, MemoryReservation: o.MemoryReservation,
		NanoCpus: int64(o.CPUs * 1e9), CpuShares: o.CPUShares, CpusetCpus: o.CPUSet, CpusetMems: o.MemSet, PidsLimit: o.PidsLimit, BlkioWeight: o.BlkioWeight,
		PidMode: o.PID, IpcMode: o.IPC, UTSMode: o.UTS, DnsSearch: o.DNSSearch, DnsOptions: o.DNSOptions, ExtraHosts: o.AddHosts, GroupAdd: o.Groups,
		ShmSize: o.ShmSize, OomScoreAdj: o.OOMScoreAdj, Sysctls: o.Sysctl,
	}
	if o.Restart.Name != "" {
		h.RestartPolicy = dockerRestart{o.Restart.Name, o.Restart.Max}
	}
	for _, m := range o.Mounts {
		if m.Type == "bind" {
			bind := m.Source + ":" + m.Destination
			if slices.Contains(m.Options, "ro") {
				bind += ":ro"
			}
			h.Binds = append(h.Binds, bind)
		}
	}
	for _, m := range o.Ports {
		for i := range max(m.Count, 1) {
			p := dockerPort{}
			if m.HostIP.IsValid() {
				p.HostIp = m.HostIP.String()
			}
			if m.HostPort != 0 {
				p.HostPort = strconv.Itoa(int(m.HostPort + i))
			}
			name := publishedPort{Port: m.BoxPort + i, Protocol: string(m.Protocol)}.box()
			h.PortBindings[name] = append(h.PortBindings[name], p)
		}
	}
	for _, a := range o.DNS {
		h.Dns = append(h.Dns, a.String())
	}
	return h
}

func (l listed) dockerNetwork() dockerNetwork {
	n := dockerNetwork{Ports: map[string][]dockerPort{}, Networks: map[string]dockerEndpoint{}}
	for _, p := range publishedPorts(l.Record) {
		n.Ports[p.box()] = append(n.Ports[p.box()], dockerPort{p.HostIP.String(), strconv.Itoa(int(p.HostPort))})
	}
	for _, e := range l.OnlyExposed() {
		n.Ports[e.String()] = nil
	}
	mode := l.Mode()
	name := mode.String()
	switch {
	case mode.Kind == network.ModeBridge && mode.Value != "":
		name = mode.Value
	case mode.Kind == network.ModeContainer:
		return n // that has them
	}
	var e dockerEndpoint
	if a := l.Network; a != nil {
		e.MacAddress = a.MAC
		for i, address := range a.Addresses {
			gateway := ""
			if i < len(a.Gateways) && a.Gateways[i].IsValid() {
				gateway = a.Gateways[i].String()
			}
			if address.Addr().Is4() {
				e.IPAddress, e.IPPrefixLen, e.Gateway = address.Addr().String(), address.Bits(), gateway
			} else {
				e.GlobalIPv6Address, e.GlobalIPv6PrefixLen, e.IPv6Gateway = address.Addr().String(), address.Bits(), gateway
			}
		}
	}
	n.Networks[name] = e
	n.IPAddress, n.IPPrefixLen, n.Gateway, n.MacAddress = e.IPAddress, e.IPPrefixLen, e.Gateway, e.MacAddress
	return n
}
