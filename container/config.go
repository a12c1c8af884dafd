package container

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// linuxConfig is what of a configuration concerns Linux.
//
// encoding/json looks at each type that it is asked to fill, with all that it consists of, before it reads a byte: what a
// configuration could hold costs more than what it does hold. So what is for other platforms is not there, and what few
// configurations have is looked at when it is met, see [met].
type linuxConfig struct {
	Version     string            `json:"ociVersion"`
	Process     *processPart      `json:"process"`
	Root        *specs.Root       `json:"root"`
	Hostname    string            `json:"hostname"`
	Domainname  string            `json:"domainname"`
	Mounts      []specs.Mount     `json:"mounts"`
	Hooks       met[*specs.Hooks] `json:"hooks"`
	Annotations map[string]string `json:"annotations"`
	Linux       *linuxPart        `json:"linux"`
}

// A part is the specification's type, with fields that stand before those of the same name in it.
type (
	processPart struct {
		specs.Process
		ConsoleSize     met[*specs.Box]             `json:"consoleSize"`
		Scheduler       met[*specs.Scheduler]       `json:"scheduler"`
		IOPriority      met[*specs.LinuxIOPriority] `json:"ioPriority"`
		ExecCPUAffinity met[*specs.CPUAffinity]     `json:"execCPUAffinity"`
	}
	linuxPart struct {
		specs.Linux
		UIDMappings  met[[]specs.LinuxIDMapping]           `json:"uidMappings"`
		GIDMappings  met[[]specs.LinuxIDMapping]           `json:"gidMappings"`
		Devices      met[[]specs.LinuxDevice]              `json:"devices"`
		NetDevices   met[map[string]specs.LinuxNetDevice]  `json:"netDevices"`
		TimeOffsets  met[map[string]specs.LinuxTimeOffset] `json:"timeOffsets"`
		Resources    *resourcesPart                        `json:"resources"`
		IntelRdt     met[*specs.LinuxIntelRdt]             `json:"intelRdt"`
		MemoryPolicy met[*specs.LinuxMemoryPolicy]         `json:"memoryPolicy"`
		Personality  met[*specs.LinuxPersonality]          `json:"personality"`
	}
	resourcesPart struct {
		specs.LinuxResources
		Memory         met[*specs.LinuxMemory]         `json:"memory"`
		CPU            met[*specs.LinuxCPU]            `json:"cpu"`
		BlockIO        met[*specs.LinuxBlockIO]        `json:"blockIO"`
		HugepageLimits met[[]specs.LinuxHugepageLimit] `json:"hugepageLimits"`
		Network        met[*specs.LinuxNetwork]        `json:"network"`
		Rdma           met[map[string]specs.LinuxRdma] `json:"rdma"`
	}
)

// met is a T of whose type encoding/json learns when a text has one: what unmarshals itself is not looked into. Its text is
// read once more for that, so it is nothing for what is long, such as seccomp.
type met[T any] struct{ value T }

func (m *met[T]) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &m.value) }

// ParseConfig reads a config.json. Fields that are not known are left out, as the specification wants it
// ("Extensibility"), and so is what it defines for platforms other than Linux. Its errors are encoding/json's.
func ParseConfig(text []byte) (*specs.Spec, error) {
	var c linuxConfig
	err := json.Unmarshal(text, &c)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		// The path that leads to a field of a part has the part's own type in it, which is none of the text's.
		kind.Field = strings.NewReplacer(".Process.", ".", ".LinuxResources.", ".", ".Linux.", ".").Replace(kind.Field)
	}
	if err != nil {
		return nil, err
	}
	return c.spec(), nil
}

func (c *linuxConfig) spec() *specs.Spec {
	s := &specs.Spec{
		Version: c.Version, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Hooks: c.Hooks.value, Annotations: c.Annotations,
	}
	if p := c.Process; p != nil {
		s.Process = &p.Process
		s.Process.ConsoleSize, s.Process.Scheduler = p.ConsoleSize.value, p.Scheduler.value
		s.Process.IOPriority, s.Process.ExecCPUAffinity = p.IOPriority.value, p.ExecCPUAffinity.value
	}
	if l := c.Linux; l != nil {
		s.Linux = &l.Linux
		s.Linux.UIDMappings, s.Linux.GIDMappings = l.UIDMappings.value, l.GIDMappings.value
		s.Linux.Devices, s.Linux.NetDevices, s.Linux.TimeOffsets = l.Devices.value, l.NetDevices.value, l.TimeOffsets.value
		s.Linux.IntelRdt = l.IntelRdt.value
		s.Linux.MemoryPolicy, s.Linux.Personality = l.MemoryPolicy.value, l.Personality.value
		if r := l.Resources; r != nil {
			s.Linux.Resources = &r.LinuxResources
			to := s.Linux.Resources
			to.Memory, to.CPU, to.BlockIO = r.Memory.value, r.CPU.value, r.BlockIO.value
			to.HugepageLimits, to.Network, to.Rdma = r.HugepageLimits.value, r.Network.value, r.Rdma.value
		}
	}
	return s
}
