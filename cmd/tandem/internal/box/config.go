package box

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container"
	"tandem/container/rootfs"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// spec is what the engine is asked for.
func (r *Record) spec(n *boxNetwork) (*container.Spec, error) {
	config, err := r.config(n)
	if err != nil {
		return nil, err
	}
	s := &container.Spec{
		ID: r.ID, Bundle: r.home.runFolder(r.ID), Config: config,
		Overlay: &rootfs.Overlay{
			Lower: r.Lower, Upper: r.data(upperFolder), Work: r.data(workFolder), UserXattr: os.Geteuid() != 0,
		},
		Prepare: n.prepare,
	}
	if r.Options.Init {
		if s.Init, err = os.Executable(); err != nil { // tandem is one, by another name
			return nil, fmt.Errorf("--init: %w", err)
		}
	}
	return s, nil
}

func (r *Record) config(n *boxNetwork) (*specs.Spec, error) {
	o := &r.Options
	process, err := r.process()
	if err != nil {
		return nil, err
	}
	profile, err := o.profile(process.Capabilities.Bounding)
	if err != nil {
		return nil, err
	}
	nodes, rules, err := o.devices()
	if err != nil {
		return nil, err
	}
	list, err := r.namespaces(n)
	if err != nil {
		return nil, err
	}
	linux := &specs.Linux{
		Namespaces: list, Seccomp: profile, Devices: nodes, Resources: o.resources(), Sysctl: o.Sysctl,
		MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths,
	}
	linux.Resources.Devices = rules
	if o.Privileged {
		linux.MaskedPaths, linux.ReadonlyPaths = nil, nil
	}
	c := &specs.Spec{
		Version: specs.Version, Process: process, Root: &specs.Root{Readonly: o.ReadOnly}, Hostname: n.hostname,
		Mounts: r.mounts(n.mounts), Linux: linux, Annotations: o.Labels,
	}
	if o.UTS == sharedHost {
		c.Hostname = "" // it is the host's own
	}
	if os.Geteuid() == 0 {
		linux.CgroupsPath = "/" + r.home.cgroupPrefix() + r.ID
		return c, nil
	}
	return c, makeRootless(c)
}

// cgroupPrefix begins the names of the home's cgroups: what a crash left can be told by it, also from another home's.
func (h *Home) cgroupPrefix() string {
	return fmt.Sprintf("tandem-%08x-", crc32.ChecksumIEEE([]byte(h.Run)))
}

// process is the box's first.
func (r *Record) process() (*specs.Process, error) {
	o, image := &r.Options, r.ImageConfig
	word := o.User
	if word == "" {
		word = image.User
	}
	user, err := LookupUser(r.Lower, word, o.Groups)
	if err != nil {
		return nil, err
	}
	caps, err := o.capabilities()
	if err != nil {
		return nil, err
	}
	sets := &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps}
	if user.UID != 0 {
		sets.Permitted, sets.Effective = nil, nil // as execve would leave it, see capabilities(7)
	}
	var adjust *int
	if o.OOMScoreAdj != 0 {
		adjust = &o.OOMScoreAdj
	}
	p := &specs.Process{
		Terminal: o.TTY, User: user, Args: r.Command, Env: r.env(), Cwd: "/", Capabilities: sets, Rlimits: o.Ulimits,
		NoNewPrivileges: o.NoNewPrivileges, OOMScoreAdj: adjust, ApparmorProfile: o.AppArmor,
	}
	for _, dir := range []string{o.Workdir, image.WorkingDir} {
		if dir != "" {
			p.Cwd = filepath.Join("/", dir)
			break
		}
	}
	return p, nil
}

// env is the environment, each name once: the user's value before the image's.
func (r *Record) env() []string {
	env := []string{defaultPath}
	if r.Options.TTY {
		env = append(env, "TERM=xterm")
	}
	return MergeEnv(MergeEnv(env, r.ImageConfig.Env), r.Options.Env)
}

// MergeEnv sets variables in an environment, each name once.
func MergeEnv(env, set []string) []string {
	env = slices.Clone(env)
	for _, e := range set {
		name, _, _ := strings.Cut(e, "=")
		i := slices.IndexFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if i < 0 {
			env = append(env, e)
		} else {
			env[i] = e
		}
	}
	return env
}

// setCommand puts together what the user and the image say is to be run, see image-spec, config.md, "Entrypoint": a
// user's entrypoint also takes the place of the image's command.
func (r *Record) setCommand() error {
	o, image := &r.Options, r.ImageConfig
	entrypoint, command := image.Entrypoint, image.Cmd
	if o.Entrypoint != nil {
		entrypoint, command = nil, nil
		if *o.Entrypoint != "" {
			entrypoint = []string{*o.Entrypoint}
		}
	}
	if len(o.Command) > 0 {
		command = o.Command
	}
	r.Command = slices.Concat(entrypoint, command)
	if len(r.Command) == 0 {
		return wrong("no command, and the image has none: say one behind it")
	}
	return nil
}
