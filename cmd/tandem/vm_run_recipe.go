package main

import (
	"time"

	"tandem/cmd/tandem/internal/card"
	"tandem/cmd/tandem/internal/elsewhere"
	"tandem/network/port"
	"tandem/virtio"
	"tandem/virtio/balloon"
	"tandem/virtio/blk"
	"tandem/virtio/rng"
	"tandem/vmm"
	"tandem/vmm/trace"
)

// recipe is a run with everything settled that its flags leave open: files are found, the initial RAM disk is made. It
// is what a host hands to its lab, which sees the same files, so that the lab's slow processors only run the guest.
type recipe struct {
	Name      string `json:"name"`
	Named     bool   `json:"named,omitempty"` // by the user
	CPUs      int    `json:"cpus"`
	Memory    uint64 `json:"memory"`
	HugePages uint64 `json:"huge_pages,omitempty"`

	Kernel   string       `json:"kernel"`
	Entry    vmm.Entry    `json:"entry,omitempty"`
	Cmdline  string       `json:"cmdline"`
	Unpacked string       `json:"unpacked"` // the folder where unpacked kernels are kept
	Initrd   []initrdFile `json:"initrd,omitempty"`
	Overlay  []byte       `json:"overlay,omitempty"` // what lies behind them

	Transport vmm.Transport      `json:"transport"`
	Disks     []disk             `json:"disks,omitempty"`
	RNG       bool               `json:"rng,omitempty"`
	Cards     []card.Card        `json:"cards,omitempty"`
	Publish   []port.Mapping     `json:"publish,omitempty"`
	Vsock     *vsockSpec         `json:"vsock,omitempty"`
	Elsewhere []elsewhere.Device `json:"elsewhere,omitempty"`
	Shares    []elsewhere.Share  `json:"shares,omitempty"`
	Console   string             `json:"console"` // stdio, none, or a file

	Command []string `json:"command,omitempty"`
	// AgentPort has the command's streams go over a virtio-serial port, not over the second serial line.
	AgentPort bool `json:"agent_port,omitempty"`
	// AgentVsock has them go over a connection that the guest makes to its host. See settleAgent.
	AgentVsock bool `json:"agent_vsock,omitempty"`
	TTY        bool `json:"tty,omitempty"`

	Ports         []portSpec   `json:"ports,omitempty"`
	VirtioConsole bool         `json:"virtio_console,omitempty"` // the console is hvc0
	Balloon       *balloonSpec `json:"balloon,omitempty"`

	Trace       string        `json:"trace,omitempty"`
	TraceFormat trace.Format  `json:"trace_format,omitempty"`
	TraceFile   string        `json:"trace_file,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	JSON        bool          `json:"json,omitempty"`
}

// initrdFile is one part of the initial RAM disk.
type initrdFile struct {
	Path   string `json:"path"`
	Cached bool   `json:"cached,omitempty"` // it is tandem's own, and nobody changes it
}

// agentPort is the guest's name of the second serial port, which carries the agent's session where there is no
// virtio-serial port: see agentPortName.
const agentPort = "/dev/ttyS1"

// windowSize is a terminal's in characters; 0 where there is none.
type windowSize struct{ rows, cols uint16 }

// spec is the machine that the recipe describes. Its serial ports are the caller's to fill, and its network cards the
// caller's to plug in. open opens its disks.
func (r *recipe) spec(tracer *trace.Tracer, open func(blk.Spec) (*blk.Disk, error)) vmm.Spec {
	s := vmm.Spec{
		Name: r.Name, CPUs: r.CPUs, Memory: r.Memory, HugePages: r.HugePages, Trace: tracer,
		Kernel: &vmm.Kernel{Path: r.Kernel, Cmdline: r.Cmdline, Entry: r.Entry, Cache: r.Unpacked},
	}
	for _, file := range r.Initrd {
		s.Kernel.Initrd = append(s.Kernel.Initrd, vmm.Part{Path: file.Path, Immutable: file.Cached})
	}
	if r.Overlay != nil {
		s.Kernel.Initrd = append(s.Kernel.Initrd, vmm.Part{Bytes: r.Overlay})
	}
	for i, d := range r.Disks {
		s.Devices = append(s.Devices, vmm.Device{
			Name: diskName(i), Type: virtio.TypeBlk, Transport: r.Transport, Source: d.Path,
			Open: func() (virtio.Device, error) {
				return open(blk.Spec{Path: d.Path, ReadOnly: d.ReadOnly, Serial: d.Serial, Queues: d.Queues})
			},
		})
	}
	if r.RNG {
		s.Devices = append(s.Devices, vmm.Device{
			Name: "rng", Type: virtio.TypeRNG, Transport: r.Transport,
			Open: func() (virtio.Device, error) { return rng.New(), nil },
		})
	}
	s.Devices = append(s.Devices, r.portDevices()...)
	s.Devices = append(s.Devices, r.balloonDevices(nil, func(*balloon.Device) {})...)
	return s
}
