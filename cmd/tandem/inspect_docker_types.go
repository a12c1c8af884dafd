package main

import "tandem/cmd/tandem/internal/box"

// dockerContainer is what `docker inspect` has of a container, as far as a box has the same: the names that the templates
// of people's scripts know. Its JSON is that of the Engine API's ContainerInspect.
type dockerContainer struct {
	Id              string
	Created         string
	Path            string
	Args            []string
	State           dockerState
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string // docker puts a slash before it
	RestartCount    int
	Driver          string
	Platform        string
	Mounts          []dockerMount
	Config          dockerConfig
	HostConfig      dockerHostConfig
	NetworkSettings dockerNetwork
}

type dockerState struct {
	Status                            box.Status
	Running, Paused, Restarting, Dead bool
	OOMKilled                         bool
	Pid                               int
	ExitCode                          int
	Error                             string
	StartedAt, FinishedAt             string
	Health                            *dockerHealth `json:",omitempty"`
}

type dockerHealth struct {
	Status        box.HealthStatus
	FailingStreak int
	Log           []box.Probe
}

type dockerMount struct {
	Type, Source, Destination, Mode string
	RW                              bool
}

type dockerConfig struct {
	Hostname, User            string
	AttachStdin, AttachStdout bool
	OpenStdin, StdinOnce      bool
	Tty                       bool
	Env, Cmd, Entrypoint      []string
	Image, WorkingDir         string
	Labels                    map[string]string
	ExposedPorts              map[string]struct{}
	StopSignal                string
	StopTimeout               int
}

type dockerHostConfig struct {
	Binds                                  []string
	NetworkMode                            string
	PortBindings                           map[string][]dockerPort
	RestartPolicy                          dockerRestart
	AutoRemove, Privileged, ReadonlyRootfs bool
	PublishAllPorts, Init                  bool
	CapAdd, CapDrop                        []string
	Memory, MemorySwap, MemoryReservation  int64
	NanoCpus                               int64
	CpuShares                              uint64
	CpusetCpus, CpusetMems                 string
	PidsLimit                              int64
	BlkioWeight                            uint16
	PidMode, IpcMode, UTSMode              string
	Dns, DnsSearch, DnsOptions, ExtraHosts []string
	GroupAdd                               []string
	ShmSize                                int64
	OomScoreAdj                            int
	Sysctls                                map[string]string
}

type dockerRestart struct {
	Name              string
	MaximumRetryCount int
}

type dockerPort struct{ HostIp, HostPort string }

type dockerNetwork struct {
	IPAddress, Gateway, MacAddress string
	IPPrefixLen                    int
	Ports                          map[string][]dockerPort
	Networks                       map[string]dockerEndpoint
}

type dockerEndpoint struct {
	IPAddress, Gateway, MacAddress string
	IPPrefixLen                    int
	GlobalIPv6Address, IPv6Gateway string
	GlobalIPv6PrefixLen            int
}
