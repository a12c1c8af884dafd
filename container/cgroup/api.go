package cgroup

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/plan"
)

var errUnwritten = errors.New("cgroup: being written")

// Detect reads what this host has from /proc/self/mountinfo, /proc/self/cgroup and /proc/cgroups.
func Detect() (Host, error) { return Host{}, errUnwritten }

// Group is a control group: one folder in each of a host's hierarchies that it uses. Its methods may be called at the
// same time, as far as what they ask of the kernel makes sense together.
type Group struct{}

// New plans a group. Nothing is touched: every value of r is checked, which may be nil for no limits.
func New(h Host, p Path, r *specs.LinuxResources) (*Group, error) { return nil, errUnwritten }

// Open takes up a group that exists, from what Paths gave when it was made.
func Open(paths map[string]string) (*Group, error) { return nil, errUnwritten }

// Paths are the group's folders for a state file, keyed as runc keys them: by controller and "name=systemd" in
// version 1, by the empty string in version 2.
func (g *Group) Paths() map[string]string { return nil }

// Warnings are fields that were given and have no effect here, a sentence each.
func (g *Group) Warnings() []string { return nil }

// Access tells beforehand whether the caller may make the group: ErrNotPermitted if not.
func (g *Group) Access() error { return errUnwritten }

// Create makes the group and sets its limits. Undone, it removes what it made and nothing else.
func (g *Group) Create() []plan.Step { return nil }

// Join moves a process into the group, from outside: pid is read when the steps run. It fails with ErrFrozen if the
// process would stand still. JoinFiles is the faster way.
func (g *Group) Join(pid *int) []plan.Step { return nil }

// JoinFiles are the files to which a process of one thread writes "0" to move itself into the group. Opened by whoever
// made the group (the kernel looks at the opener's rights) and written by the child after clone, they cost a fiftieth of
// what Join does: the kernel need not hold up every fork on the machine for a thread that moves itself. Where the child was
// cloned with CLONE_INTO_CGROUP and FD, cloned is true, and the version 2 group is not among them.
func (g *Group) JoinFiles(cloned bool) []string { return nil }

// FD opens the version 2 group for CLONE_INTO_CGROUP; the caller closes it. It is ErrNotSupported where the group has
// none (most hybrid hosts), and with a limit of no processes, which would refuse the first one too.
func (g *Group) FD() (*os.File, error) { return nil, errUnwritten }

// Delegate gives the version 2 group to the container's root, as the specification's "Cgroup ownership" tells and
// /sys/kernel/cgroup/delegate lists. No steps in version 1, where that is not safe.
func (g *Group) Delegate(uid, gid int) []plan.Step { return nil }

// Update changes the limits that r names and leaves the others as they are.
func (g *Group) Update(r *specs.LinuxResources) ([]plan.Step, error) { return nil, errUnwritten }

// Pids are the processes in the group itself, AllPids those in groups below it too, sorted.
func (g *Group) Pids() ([]int, error)    { return nil, errUnwritten }
func (g *Group) AllPids() ([]int, error) { return nil, errUnwritten }

// Kill ends every process in the group and below with SIGKILL, frozen ones too, and returns when none is left.
func (g *Group) Kill(ctx context.Context) error { return errUnwritten }

// State is whether a group's processes run.
type State string

// The states of a group.
const (
	Running  State = "running"
	Freezing State = "freezing"
	Frozen   State = "frozen"
)

// Freeze stops every process in the group and below, and returns when all stand still. If they do not before ctx ends,
// they go on.
func (g *Group) Freeze(ctx context.Context) error { return errUnwritten }

// Thaw lets them go on.
func (g *Group) Thaw(ctx context.Context) error { return errUnwritten }

// State reads whether the group is frozen.
func (g *Group) State() (State, error) { return "", errUnwritten }

// Remove takes the group away, and those below it, the deepest first. It must hold no process; one that is on its way
// out is waited for.
func (g *Group) Remove(ctx context.Context) error { return errUnwritten }

// Event is news of a group's memory.
type Event struct {
	Time     time.Time
	OOMs     uint64 // times that the limit was hit and nothing could be reclaimed; 0 in version 1, which does not count
	OOMKills uint64 // processes that the OOM killer has ended in the group so far
}

// WatchOOM tells of each time that the group runs out of memory, until ctx ends or the group does, when the channel is
// closed.
func (g *Group) WatchOOM(ctx context.Context) (<-chan Event, error) { return nil, errUnwritten }

// OOMKills is how many processes the OOM killer has ended in the group and below.
func (g *Group) OOMKills() (uint64, error) { return 0, errUnwritten }

// Stats is what a group has used and met. Parts that no controller tells of are nil.
type Stats struct{}

// Stats reads the group's counters.
func (g *Group) Stats() (*Stats, error) { return nil, errUnwritten }

// DefaultDevices are the devices that every container may use, as runc has them: null, zero, full, random, urandom,
// tty, console, ptmx, the pts, and mknod of any.
func DefaultDevices() []specs.LinuxDeviceCgroup { return nil }
