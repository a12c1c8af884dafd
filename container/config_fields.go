package container

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/fastjson"
)

// Each of these reads one field of a struct, which a configuration names by key. What few configurations have is not here.

func specField(r *fastjson.Reader, key string, s *specs.Spec) {
	switch key {
	case "ociVersion":
		s.Version = r.String()
	case "process":
		fastjson.Part(r, &s.Process, processField)
	case "root":
		fastjson.Part(r, &s.Root, rootField)
	case "hostname":
		s.Hostname = r.String()
	case "domainname":
		s.Domainname = r.String()
	case "mounts":
		fastjson.List(r, &s.Mounts, mountField)
	case "hooks":
		fastjson.Part(r, &s.Hooks, hooksField)
	case "annotations":
		r.StringMap(&s.Annotations)
	case "linux":
		fastjson.Part(r, &s.Linux, linuxField)
	default:
		r.GiveUp()
	}
}

func processField(r *fastjson.Reader, key string, p *specs.Process) {
	switch key {
	case "terminal":
		p.Terminal = r.Bool()
	case "consoleSize":
		fastjson.Part(r, &p.ConsoleSize, boxField)
	case "user":
		fastjson.Struct(r, &p.User, userField)
	case "args":
		r.Strings(&p.Args)
	case "env":
		r.Strings(&p.Env)
	case "cwd":
		p.Cwd = r.String()
	case "capabilities":
		fastjson.Part(r, &p.Capabilities, capabilitiesField)
	case "rlimits":
		fastjson.List(r, &p.Rlimits, rlimitField)
	case "noNewPrivileges":
		p.NoNewPrivileges = r.Bool()
	case "apparmorProfile":
		p.ApparmorProfile = r.String()
	case "oomScoreAdj":
		p.OOMScoreAdj = new(fastjson.Number[int](r))
	case "selinuxLabel":
		p.SelinuxLabel = r.String()
	default:
		r.GiveUp()
	}
}

func boxField(r *fastjson.Reader, key string, b *specs.Box) {
	switch key {
	case "height":
		b.Height = fastjson.Number[uint](r)
	case "width":
		b.Width = fastjson.Number[uint](r)
	default:
		r.GiveUp()
	}
}

func userField(r *fastjson.Reader, key string, u *specs.User) {
	switch key {
	case "uid":
		u.UID = fastjson.Number[uint32](r)
	case "gid":
		u.GID = fastjson.Number[uint32](r)
	case "umask":
		u.Umask = new(fastjson.Number[uint32](r))
	case "additionalGids":
		fastjson.Numbers(r, &u.AdditionalGids)
	case "username":
		u.Username = r.String()
	default:
		r.GiveUp()
	}
}

func capabilitiesField(r *fastjson.Reader, key string, c *specs.LinuxCapabilities) {
	switch key {
	case "bounding":
		r.Strings(&c.Bounding)
	case "effective":
		r.Strings(&c.Effective)
	case "inheritable":
		r.Strings(&c.Inheritable)
	case "permitted":
		r.Strings(&c.Permitted)
	case "ambient":
		r.Strings(&c.Ambient)
	default:
		r.GiveUp()
	}
}

func rlimitField(r *fastjson.Reader, key string, l *specs.POSIXRlimit) {
	switch key {
	case "type":
		l.Type = r.String()
	case "hard":
		l.Hard = fastjson.Number[uint64](r)
	case "soft":
		l.Soft = fastjson.Number[uint64](r)
	default:
		r.GiveUp()
	}
}

func rootField(r *fastjson.Reader, key string, root *specs.Root) {
	switch key {
	case "path":
		root.Path = r.String()
	case "readonly":
		root.Readonly = r.Bool()
	default:
		r.GiveUp()
	}
}

func mountField(r *fastjson.Reader, key string, m *specs.Mount) {
	switch key {
	case "destination":
		m.Destination = r.String()
	case "type":
		m.Type = r.String()
	case "source":
		m.Source = r.String()
	case "options":
		r.Strings(&m.Options)
	case "uidMappings":
		fastjson.List(r, &m.UIDMappings, idMappingField)
	case "gidMappings":
		fastjson.List(r, &m.GIDMappings, idMappingField)
	default:
		r.GiveUp()
	}
}

func idMappingField(r *fastjson.Reader, key string, m *specs.LinuxIDMapping) {
	switch key {
	case "containerID":
		m.ContainerID = fastjson.Number[uint32](r)
	case "hostID":
		m.HostID = fastjson.Number[uint32](r)
	case "size":
		m.Size = fastjson.Number[uint32](r)
	default:
		r.GiveUp()
	}
}

func hooksField(r *fastjson.Reader, key string, h *specs.Hooks) {
	switch key {
	case "prestart":
		//lint:ignore SA1019 podman and others still write them
		fastjson.List(r, &h.Prestart, hookField)
	case "createRuntime":
		fastjson.List(r, &h.CreateRuntime, hookField)
	case "createContainer":
		fastjson.List(r, &h.CreateContainer, hookField)
	case "startContainer":
		fastjson.List(r, &h.StartContainer, hookField)
	case "poststart":
		fastjson.List(r, &h.Poststart, hookField)
	case "poststop":
		fastjson.List(r, &h.Poststop, hookField)
	default:
		r.GiveUp()
	}
}

func hookField(r *fastjson.Reader, key string, h *specs.Hook) {
	switch key {
	case "path":
		h.Path = r.String()
	case "args":
		r.Strings(&h.Args)
	case "env":
		r.Strings(&h.Env)
	case "timeout":
		h.Timeout = new(fastjson.Number[int](r))
	default:
		r.GiveUp()
	}
}
