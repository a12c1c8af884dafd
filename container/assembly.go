package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
	"tandem/container/child"
	"tandem/container/resctrl"
	"tandem/container/rootfs"
	"tandem/container/seccomp"
	"tandem/internal/plan"
)

// assembly is a container in the making: its specification, the child's program that comes of it, and the plan in which
// the parent's steps stand between those of the child.
type assembly struct {
	engine   *Engine
	spec     *Spec
	detached bool // the process waits for Start, which somebody else may call
	told     bool // somebody reads the plan

	ns      namespaces
	process *identity
	group   *cgroup.Group
	rdt     *resctrl.Group

	netDevices []*netDevice

	root    *rootfs.Build
	program *child.Program

	plan    *plan.Plan
	numbers []int // of the child's steps, by their number in its program less 1

	// What the steps find and leave.
	state   *state
	child   *child.Process
	killed  bool // the child, by us
	hooked  bool // a hook has run, or has begun to
	pid     int
	started *os.File // the FIFO that lets the process go on
	failed  *os.File // the FIFO that it tells its failure to
	cgroup  *os.File // for CLONE_INTO_CGROUP
	netMove *netMove
}

// The places where the child waits for its parent.
const (
	syncBorn     = "born"
	syncJoined   = "joined"
	syncMounted  = "mounted"
	syncTerminal = "terminal"
	syncCreated  = "created"
)

// assemble works out what has to be done. It changes nothing.
func (e *Engine) assemble(s *Spec, detached, told bool) (*assembly, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Init != "" && s.Config.Process != nil {
		with := *s
		with.Config, with.Text = withInit(s.Config, s.Init), nil
		s = &with
	}
	if s.Notify && s.Config.Process != nil {
		with := *s
		with.Config = withNotify(s.Config, filepath.Join(e.Root, s.ID, notifyDir))
		s = &with
	}
	a := &assembly{engine: e, spec: s, detached: detached, told: told}
	warn := s.Warn
	if warn == nil {
		warn = func(string, ...any) {}
	}
	c := s.Config
	if c.Process == nil {
		return nil, invalid("process is missing")
	}
	var err error
	if a.ns, err = parseNamespaces(c.Linux.Namespaces); err != nil {
		return nil, err
	}
	if !a.ns.has(unix.CLONE_NEWNS) && s.Overlay != nil {
		return nil, invalid("linux.namespaces has no mount namespace, and the root is made of layers")
	}
	if err := checkMappings(c.Linux, a.ns); err != nil {
		return nil, err
	}
	if err := checkOwnMappings(c.Linux, a.ns); err != nil {
		return nil, err
	}
	if err := unsupported(c); err != nil {
		return nil, err
	}
	if a.netDevices, err = parseNetDevices(c.Linux, a.ns); err != nil {
		return nil, err
	}
	if c.Linux.MountLabel != "" && !haveSELinux() {
		warn("linux.mountLabel %q has no effect: this kernel runs without SELinux", c.Linux.MountLabel)
	}
	if a.process, err = a.makeProcess(warn); err != nil {
		return nil, err
	}
	if err := a.makeGroup(warn); err != nil {
		return nil, err
	}
	if a.rdt, err = e.rdtGroup(s); err != nil {
		return nil, err
	}
	if a.root, err = rootfs.New(a.rootSpec()); err != nil {
		return nil, err
	}
	a.program = child.New()
	if !told {
		a.program.Untold()
	}
	a.writeProgram(a.program)
	if err := a.program.Err(); err != nil {
		return nil, err
	}
	a.makePlan(warn)
	return a, nil
}

func (a *assembly) makeProcess(warn func(string, ...any)) (*identity, error) {
	c := a.spec.Config
	caps, err := parseCapabilities(c.Process.Capabilities, warn)
	if err != nil {
		return nil, err
	}
	x := &identity{Process: c.Process, raised: raised(a.ns, c.Process.Rlimits), caps: caps, linux: c.Linux, env: withHome(c.Process, a.rootFolders())}
	x.setIDs = maySetGroups(a.ns, c.Process.User.AdditionalGids)
	if !a.spec.NoNewKeyring {
		x.keyring = keyringName(a.spec.ID)
	}
	if c.Linux.Seccomp != nil {
		if x.filter, err = seccomp.Compile(c.Linux.Seccomp); err != nil {
			return nil, err
		}
		for _, name := range x.filter.Unknown {
			warn("linux.seccomp: no system call is named %q", name)
		}
	}
	return x, nil
}

// rootFolders are where the root file system's files are, the topmost first, as far as that can be told before it is
// mounted.
func (a *assembly) rootFolders() []string {
	if a.spec.Overlay != nil {
		return a.spec.Overlay.Lower
	}
	return []string{a.rootPath()}
}

func (a *assembly) rootPath() string {
	c := a.spec.Config
	if c.Root == nil || c.Root.Path == "" {
		return filepath.Join(a.dir(), "rootfs")
	}
	if filepath.IsAbs(c.Root.Path) {
		return filepath.Clean(c.Root.Path)
	}
	return filepath.Join(a.spec.Bundle, c.Root.Path)
}

func (a *assembly) dir() string { return filepath.Join(a.engine.Root, a.spec.ID) }

func (a *assembly) makeGroup(warn func(string, ...any)) error {
	l := a.spec.Config.Linux
	host, err := cgroup.Detect()
	if err != nil {
		return err
	}
	path, err := cgroup.ParsePath(l.CgroupsPath, a.spec.ID)
	if err != nil {
		return err
	}
	g, err := cgroup.New(host, path, withDevices(l))
	if err != nil {
		return err
	}
	for _, w := range g.Warnings() {
		warn("%s", w)
	}
	if !hostRoot() && l.CgroupsPath == "" {
		if err := g.Access(); errors.Is(err, cgroup.ErrNotPermitted) {
			warn("no limits, and no group of its own: %v", err)
			return nil
		}
	}
	a.group = g
	return nil
}

// withDevices are the resources with rules for the devices that the container gets whatever its rules say: those that
// are made in it (config-linux.md, Devices), and those that no program does without.
func withDevices(l *specs.Linux) *specs.LinuxResources {
	if l.Resources == nil || len(l.Resources.Devices) == 0 {
		return l.Resources
	}
	r := *l.Resources
	r.Devices = slices.Clone(r.Devices)
	for _, d := range l.Devices {
		if d.Type == "p" {
			continue
		}
		kind := strings.Replace(d.Type, "u", "c", 1) // a character device without a buffer, as of old
		r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &d.Major, Minor: &d.Minor, Access: "rwm"})
	}
	r.Devices = append(r.Devices, cgroup.DefaultDevices()...)
	return &r
}

func (a *assembly) rootSpec() rootfs.Spec {
	c := a.spec.Config
	s := rootfs.Spec{
		Root: a.rootPath(), Overlay: a.overlay(), UserNS: a.ns.has(unix.CLONE_NEWUSER) || userns.RunningInUserNS(), Bundle: a.spec.Bundle,
		UIDMappings: c.Linux.UIDMappings, GIDMappings: c.Linux.GIDMappings, UserNSPath: a.ns.join[unix.CLONE_NEWUSER], Propagation: c.Linux.RootfsPropagation, Mounts: c.Mounts,
		Devices: c.Linux.Devices, Masked: c.Linux.MaskedPaths, ReadonlyAt: c.Linux.ReadonlyPaths, Sysctl: c.Linux.Sysctl,
		MountLabel: c.Linux.MountLabel, NewUser: a.ns.has(unix.CLONE_NEWUSER), NewNetwork: a.ns.has(unix.CLONE_NEWNET),
		NewIPC: a.ns.has(unix.CLONE_NEWIPC), NewUTS: a.ns.has(unix.CLONE_NEWUTS), NewPID: a.ns.has(unix.CLONE_NEWPID),
		NewCgroup: a.ns.has(unix.CLONE_NEWCGROUP), Rootless: !hostRoot(), NoClone: !mayCloneMounts(), NoPivot: a.spec.NoPivot,
		HostMounts: !a.ns.has(unix.CLONE_NEWNS),
	}
	if s.MountLabel != "" && !haveSELinux() {
		s.MountLabel = "" // a mount option that the kernel would refuse
	}
	if c.Root != nil {
		s.Readonly = c.Root.Readonly
	}
	if a.group != nil {
		s.Cgroup = a.group.Paths()
	}
	return s
}

// makePlan puts the parent's steps and the child's into one list, in the order in which they happen.
func (a *assembly) makePlan(warn func(string, ...any)) {
	verb := "create"
	if !a.detached {
		verb = "run"
	}
	p := plan.New(verb + " container " + a.spec.ID)
	a.plan = p
	p.Phase("make its place on disk")
	p.Add(a.stateSteps()...)
	if a.group != nil && !a.cgroupMeanwhile() {
		p.Phase("make its cgroup")
		p.Add(a.group.Create()...)
	}
	if !a.ns.has(unix.CLONE_NEWNS) {
		warn("linux.namespaces has no mount namespace: the container's mounts are the host's, and chroot is what holds it")
		p.Phase("remember the host's mounts")
		p.Add(plan.Step{
			Op: "umount2", Object: a.rootPath(), Args: []plan.Arg{plan.A("flags", "MNT_DETACH")},
			Why: "in the end: the container's mounts are the host's, and all below this one",
			Do: func() (err error) {
				a.state.Beneath, err = mountID(a.rootPath())
				return err
			},
			Undo: func() error { return unmountRoot(a.rootPath(), a.state.Beneath) },
		})
	}
	p.Phase("make the child")
	if a.bornIntoCgroup() {
		p.Add(plan.Step{
			Op: "open", Object: a.group.Paths()[""], Args: []plan.Arg{plan.A("flags", "O_PATH|O_DIRECTORY")},
			Why: "for the child to be born into: to move it there later holds up every fork on the machine",
			Do: func() (err error) {
				a.cgroup, err = a.group.FD()
				return err
			},
		})
	}
	p.Add(a.cloneStep())
	if a.cgroupMeanwhile() {
		p.Phase("make its cgroup, while the child makes its namespaces")
		p.Add(a.group.Create()...)
		p.Add(a.letJoinStep())
	}
	if a.told {
		a.addChild(p)
	} else {
		a.addLegs(p)
	}
	if !a.detached {
		p.Phase("see that it runs")
		p.Add(plan.Step{Op: "read", Object: "child's socket", Why: "its end is the end of the child's program: the command runs", Do: a.awaitExec})
	}
}

// addChild adds each of the child's steps, and where the child waits what the parent does meanwhile.
func (a *assembly) addChild(p *plan.Plan) {
	parents := a.parents()
	for _, phase := range a.program.Phases() {
		p.Phase("child: " + phase.Name)
		for _, step := range phase.Steps {
			a.numbers = append(a.numbers, p.Len()+1)
			if step.Op != "sync" {
				p.Add(step)
				continue
			}
			a.addSync(p, step, parents)
			p.Phase("child: " + phase.Name)
		}
	}
}

// addLegs is addChild where nobody reads the plan: it has the same numbers, and the child's steps in a lump.
func (a *assembly) addLegs(p *plan.Plan) {
	parents := a.parents()
	for _, leg := range a.program.Legs() {
		p.Phase("child")
		first := p.Len() + 1
		for i := range leg.Steps {
			a.numbers = append(a.numbers, first+i)
		}
		mine := leg.Steps
		if leg.Sync != "" {
			mine--
		}
		if mine > 0 {
			p.Add(plan.Step{Op: "steps of the child", Stands: mine})
		}
		if leg.Sync != "" {
			a.addSync(p, plan.Step{Op: "sync", Object: leg.Sync}, parents)
		}
	}
}

// addSync adds the step in which the child waits, and what the parent does then.
func (a *assembly) addSync(p *plan.Plan, step plan.Step, parents map[string][]plan.Phase) {
	step.Do = a.await(step.Object)
	p.Add(step)
	for _, theirs := range parents[step.Object] {
		p.Phase(theirs.Name)
		p.Add(theirs.Steps...)
	}
	p.Add(plan.Step{Op: "write", Object: "child's socket", Why: "let the child go on", Do: func() error { return a.child.Go() }})
}

// cloneStep makes the child.
func (a *assembly) cloneStep() plan.Step {
	flags := a.cloneFlags()
	shown := flags
	if a.bornIntoCgroup() {
		shown |= unix.CLONE_INTO_CGROUP
	}
	args := []plan.Arg{plan.A("flags", child.CloneFlags(shown))}
	why := "a process that is born into its new namespaces, and does the rest itself"
	if a.cgroupMeanwhile() {
		why = "a process that makes its other namespaces, and all the rest, itself"
	}
	if a.ns.new&unix.CLONE_NEWTIME != 0 {
		args = append(args, plan.A("timens_offsets", a.timeOffsets()))
	}
	return plan.Step{
		Op: "clone3", Args: args,
		Why: why,
		Do: func() error {
			var err error
			a.child, err = a.program.Start(child.Options{Namespaces: flags, Cgroup: a.cgroupFD(), Before: a.before()})
			if err == nil {
				a.pid = a.child.PID
			}
			return a.explainClone(err)
		},
		Undo: func() error { return errors.Join(a.kill(), a.child.Close()) },
	}
}

// kill ends the child, if it has not been ended yet.
func (a *assembly) kill() error {
	if a.killed {
		return nil
	}
	a.killed = true
	return a.child.Kill()
}

// letJoinStep lets the child go on to join its cgroup. From here on the group has a process, which has to go before it.
func (a *assembly) letJoinStep() plan.Step {
	return plan.Step{
		Op: "write", Object: "child's socket", Why: "let the child join it",
		Do: func() error {
			err := a.child.Go()
			if errors.Is(err, unix.EPIPE) { // it has failed meanwhile, and has said so
				err = a.await("")()
			}
			return err
		},
		Undo: a.kill,
	}
}

// cgroupMeanwhile tells whether the cgroup is made while the child makes its namespaces, a network namespace above all, which
// each take half a millisecond: not if the child is to be born into it, nor if the namespaces belong to another user namespace.
func (a *assembly) cgroupMeanwhile() bool {
	return a.group != nil && !a.bornIntoCgroup() && os.Geteuid() == 0 && !a.ns.has(unix.CLONE_NEWUSER) && a.ns.new&ownNamespaces != 0
}

// ownNamespaces are those that a process can make for itself, at any time.
const ownNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// cloneFlags are the namespaces that the child is born into. With a user namespace to join first, there are none: they
// would belong to the host's.
func (a *assembly) cloneFlags() uint64 {
	if a.ns.join[unix.CLONE_NEWUSER] != "" {
		return 0
	}
	if a.cgroupMeanwhile() {
		return a.ns.new & unix.CLONE_NEWPID
	}
	return a.ns.new &^ (unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME)
}

func (a *assembly) bornIntoCgroup() bool { return a.group != nil && a.group.CanClone() }

func (a *assembly) cgroupFD() int {
	if a.cgroup == nil {
		return 0
	}
	return int(a.cgroup.Fd())
}

// await waits for the child to arrive at a sync.
func (a *assembly) await(name string) func() error {
	return func() error {
		got, err := a.child.Next(a.context())
		a.pid = a.child.PID
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the child is gone%s", a.howItEnded())
		case err != nil:
			return err
		case got != name:
			return fmt.Errorf("the child stands at %q", got)
		}
		return nil
	}
}

func (a *assembly) awaitExec() error {
	_, err := a.child.Next(a.context())
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = errors.New("the child waits where it should not")
	}
	return err
}

// howItEnded tells of a child that is gone without a word: by the OOM killer, say, in a cgroup that is too small.
func (a *assembly) howItEnded() string {
	status, err := a.child.Wait()
	switch {
	case err != nil:
		return ""
	case status.Signaled():
		hint := ""
		if status.Signal() == unix.SIGKILL {
			hint = " (is the memory limit too small?)"
		}
		return fmt.Sprintf(": %v%s", status.Signal(), hint)
	}
	return fmt.Sprintf(": exit status %d", status.ExitStatus())
}

func (a *assembly) context() context.Context { return a.state.ctx }

// explain turns the plan's error into the container's: a failure of the child's is its own step's, not that of the step
// in which the parent heard of it.
func (a *assembly) explain(err error) error {
	var step *child.StepError
	if errors.As(err, &step) {
		mine := *step
		if mine.Number >= 1 && mine.Number <= len(a.numbers) {
			mine.Number = a.numbers[mine.Number-1]
		}
		mine.Total = a.plan.Len()
		return fmt.Errorf("container %s: %w", a.spec.ID, &mine)
	}
	return err
}

// now is the time, as states tell it.
func now() time.Time { return time.Now().UTC() }
