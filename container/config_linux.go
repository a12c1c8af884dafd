package container

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/fastjson"
)

func linuxField(r *fastjson.Reader, key string, l *specs.Linux) {
	switch key {
	case "uidMappings":
		fastjson.List(r, &l.UIDMappings, idMappingField)
	case "gidMappings":
		fastjson.List(r, &l.GIDMappings, idMappingField)
	case "sysctl":
		r.StringMap(&l.Sysctl)
	case "resources":
		fastjson.Part(r, &l.Resources, resourcesField)
	case "cgroupsPath":
		l.CgroupsPath = r.String()
	case "namespaces":
		fastjson.List(r, &l.Namespaces, namespaceField)
	case "devices":
		fastjson.List(r, &l.Devices, deviceField)
	case "seccomp":
		fastjson.Part(r, &l.Seccomp, seccompField)
	case "rootfsPropagation":
		l.RootfsPropagation = r.String()
	case "maskedPaths":
		r.Strings(&l.MaskedPaths)
	case "readonlyPaths":
		r.Strings(&l.ReadonlyPaths)
	case "mountLabel":
		l.MountLabel = r.String()
	default:
		r.GiveUp()
	}
}

func namespaceField(r *fastjson.Reader, key string, n *specs.LinuxNamespace) {
	switch key {
	case "type":
		n.Type = fastjson.Word[specs.LinuxNamespaceType](r)
	case "path":
		n.Path = r.String()
	default:
		r.GiveUp()
	}
}

func deviceField(r *fastjson.Reader, key string, d *specs.LinuxDevice) {
	switch key {
	case "path":
		d.Path = r.String()
	case "type":
		d.Type = r.String()
	case "major":
		d.Major = fastjson.Number[int64](r)
	case "minor":
		d.Minor = fastjson.Number[int64](r)
	case "fileMode":
		d.FileMode = new(fastjson.Number[os.FileMode](r))
	case "uid":
		d.UID = new(fastjson.Number[uint32](r))
	case "gid":
		d.GID = new(fastjson.Number[uint32](r))
	default:
		r.GiveUp()
	}
}

func resourcesField(r *fastjson.Reader, key string, l *specs.LinuxResources) {
	switch key {
	case "devices":
		fastjson.List(r, &l.Devices, deviceCgroupField)
	case "memory":
		fastjson.Part(r, &l.Memory, memoryField)
	case "cpu":
		fastjson.Part(r, &l.CPU, cpuField)
	case "pids":
		fastjson.Part(r, &l.Pids, pidsField)
	case "blockIO":
		fastjson.Part(r, &l.BlockIO, blockIOField)
	case "hugepageLimits":
		fastjson.List(r, &l.HugepageLimits, hugepageLimitField)
	case "unified":
		r.StringMap(&l.Unified)
	default:
		r.GiveUp()
	}
}

func deviceCgroupField(r *fastjson.Reader, key string, d *specs.LinuxDeviceCgroup) {
	switch key {
	case "allow":
		d.Allow = r.Bool()
	case "type":
		d.Type = r.String()
	case "major":
		d.Major = new(fastjson.Number[int64](r))
	case "minor":
		d.Minor = new(fastjson.Number[int64](r))
	case "access":
		d.Access = r.String()
	default:
		r.GiveUp()
	}
}

func memoryField(r *fastjson.Reader, key string, m *specs.LinuxMemory) {
	switch key {
	case "limit":
		m.Limit = new(fastjson.Number[int64](r))
	case "reservation":
		m.Reservation = new(fastjson.Number[int64](r))
	case "swap":
		m.Swap = new(fastjson.Number[int64](r))
	case "kernel":
		//lint:ignore SA1019 its user is told of it later
		m.Kernel = new(fastjson.Number[int64](r))
	case "kernelTCP":
		m.KernelTCP = new(fastjson.Number[int64](r))
	case "swappiness":
		m.Swappiness = new(fastjson.Number[uint64](r))
	case "disableOOMKiller":
		m.DisableOOMKiller = new(r.Bool())
	case "useHierarchy":
		m.UseHierarchy = new(r.Bool())
	case "checkBeforeUpdate":
		m.CheckBeforeUpdate = new(r.Bool())
	default:
		r.GiveUp()
	}
}

func cpuField(r *fastjson.Reader, key string, c *specs.LinuxCPU) {
	switch key {
	case "shares":
		c.Shares = new(fastjson.Number[uint64](r))
	case "quota":
		c.Quota = new(fastjson.Number[int64](r))
	case "burst":
		c.Burst = new(fastjson.Number[uint64](r))
	case "period":
		c.Period = new(fastjson.Number[uint64](r))
	case "realtimeRuntime":
		c.RealtimeRuntime = new(fastjson.Number[int64](r))
	case "realtimePeriod":
		c.RealtimePeriod = new(fastjson.Number[uint64](r))
	case "cpus":
		c.Cpus = r.String()
	case "mems":
		c.Mems = r.String()
	case "idle":
		c.Idle = new(fastjson.Number[int64](r))
	default:
		r.GiveUp()
	}
}

func pidsField(r *fastjson.Reader, key string, p *specs.LinuxPids) {
	switch key {
	case "limit":
		p.Limit = new(fastjson.Number[int64](r))
	default:
		r.GiveUp()
	}
}

func blockIOField(r *fastjson.Reader, key string, b *specs.LinuxBlockIO) {
	switch key {
	case "weight":
		b.Weight = new(fastjson.Number[uint16](r))
	case "leafWeight":
		b.LeafWeight = new(fastjson.Number[uint16](r))
	case "weightDevice":
		fastjson.List(r, &b.WeightDevice, weightDeviceField)
	case "throttleReadBpsDevice":
		fastjson.List(r, &b.ThrottleReadBpsDevice, throttleDeviceField)
	case "throttleWriteBpsDevice":
		fastjson.List(r, &b.ThrottleWriteBpsDevice, throttleDeviceField)
	case "throttleReadIOPSDevice":
		fastjson.List(r, &b.ThrottleReadIOPSDevice, throttleDeviceField)
	case "throttleWriteIOPSDevice":
		fastjson.List(r, &b.ThrottleWriteIOPSDevice, throttleDeviceField)
	default:
		r.GiveUp()
	}
}

func weightDeviceField(r *fastjson.Reader, key string, w *specs.LinuxWeightDevice) {
	switch key {
	case "major":
		w.Major = fastjson.Number[int64](r)
	case "minor":
		w.Minor = fastjson.Number[int64](r)
	case "weight":
		w.Weight = new(fastjson.Number[uint16](r))
	case "leafWeight":
		w.LeafWeight = new(fastjson.Number[uint16](r))
	default:
		r.GiveUp()
	}
}

func throttleDeviceField(r *fastjson.Reader, key string, t *specs.LinuxThrottleDevice) {
	switch key {
	case "major":
		t.Major = fastjson.Number[int64](r)
	case "minor":
		t.Minor = fastjson.Number[int64](r)
	case "rate":
		t.Rate = fastjson.Number[uint64](r)
	default:
		r.GiveUp()
	}
}

func hugepageLimitField(r *fastjson.Reader, key string, h *specs.LinuxHugepageLimit) {
	switch key {
	case "pageSize":
		h.Pagesize = r.String()
	case "limit":
		h.Limit = fastjson.Number[uint64](r)
	default:
		r.GiveUp()
	}
}

func seccompField(r *fastjson.Reader, key string, s *specs.LinuxSeccomp) {
	switch key {
	case "defaultAction":
		s.DefaultAction = fastjson.Word[specs.LinuxSeccompAction](r)
	case "defaultErrnoRet":
		s.DefaultErrnoRet = new(fastjson.Number[uint](r))
	case "architectures":
		fastjson.Words(r, &s.Architectures)
	case "flags":
		fastjson.Words(r, &s.Flags)
	case "listenerPath":
		s.ListenerPath = r.String()
	case "listenerMetadata":
		s.ListenerMetadata = r.String()
	case "syscalls":
		fastjson.List(r, &s.Syscalls, syscallField)
	default:
		r.GiveUp()
	}
}

func syscallField(r *fastjson.Reader, key string, s *specs.LinuxSyscall) {
	switch key {
	case "names":
		r.Strings(&s.Names)
	case "action":
		s.Action = fastjson.Word[specs.LinuxSeccompAction](r)
	case "errnoRet":
		s.ErrnoRet = new(fastjson.Number[uint](r))
	case "args":
		fastjson.List(r, &s.Args, seccompArgField)
	default:
		r.GiveUp()
	}
}

func seccompArgField(r *fastjson.Reader, key string, s *specs.LinuxSeccompArg) {
	switch key {
	case "index":
		s.Index = fastjson.Number[uint](r)
	case "value":
		s.Value = fastjson.Number[uint64](r)
	case "valueTwo":
		s.ValueTwo = fastjson.Number[uint64](r)
	case "op":
		s.Op = fastjson.Word[specs.LinuxSeccompOperator](r)
	default:
		r.GiveUp()
	}
}
