package container

import (
	"context"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container/cgroup"
	"tandem/internal/plan"
)

// Engine makes containers and finds them again. Its state is a folder, so that several processes may use it, one after
// the other or at the same time, and what one has made another can end.
type Engine struct {
	// Root is the folder, absolute, such as /run/tandem-oci.
	Root string
}

// Container is one that exists: its state is on disk.
type Container struct {
	engine *Engine
	state  *state
}

// Plan is what Create would do for the specification, to be printed: the parent's steps and the child's. It needs no
// rights, and asks the kernel for nothing.
func (e *Engine) Plan(s *Spec) (*plan.Plan, error) { return nil, nil }

// Create makes a container whose process stands right before it executes its command, and waits for Start. If it fails,
// nothing of it is left. ErrExists is an ID that is taken.
func (e *Engine) Create(ctx context.Context, s *Spec) (*Container, error) { return nil, nil }

// Run is Create and Start in one, with the process a child of this one, so that it can be waited for.
func (e *Engine) Run(ctx context.Context, s *Spec) (*Container, *Process, error) {
	return nil, nil, nil
}

// Load finds a container by its ID. ErrNotFound is none.
func (e *Engine) Load(id string) (*Container, error) { return nil, nil }

// List finds all, sorted by ID. What cannot be read is an error beside those that can.
func (e *Engine) List() ([]*Container, error) { return nil, nil }

// ID is the container's.
func (c *Container) ID() string { return "" }

// State is what `state` prints, as it is now.
func (c *Container) State() (*specs.State, error) { return nil, nil }

// Config is the configuration that the container was made from.
func (c *Container) Config() *specs.Spec { return nil }

// Cgroup is the container's.
func (c *Container) Cgroup() (*cgroup.Group, error) { return nil, nil }

// Start executes the container's command. A command that cannot be executed is an error.
func (c *Container) Start(ctx context.Context) error { return nil }

// Signal sends a signal to the container's process; with all, to every process of its cgroup.
func (c *Container) Signal(ctx context.Context, s syscall.Signal, all bool) error { return nil }

// Delete removes a container that has stopped, and runs its poststop hooks. With force it is killed before, in whatever
// state it is; and what a crash has left is removed.
func (c *Container) Delete(ctx context.Context, force bool) error { return nil }

// Pause freezes all of the container's processes; Resume thaws them.
func (c *Container) Pause(ctx context.Context) error  { return nil }
func (c *Container) Resume(ctx context.Context) error { return nil }

// Update changes the limits of a container.
func (c *Container) Update(ctx context.Context, r *specs.LinuxResources) error { return nil }

// Exec starts one more process in the container.
func (c *Container) Exec(ctx context.Context, s *ExecSpec) (*Process, error) { return nil, nil }

// Pids are the numbers of all processes in the container, in this process's PID namespace.
func (c *Container) Pids() ([]int, error) { return nil, nil }

// Process is a process of a container's that this process has started.
type Process struct{}

// PID is its number.
func (p *Process) PID() int { return 0 }

// Wait waits for its end.
func (p *Process) Wait() (syscall.WaitStatus, error) { return 0, nil }

// Signal sends it a signal.
func (p *Process) Signal(s syscall.Signal) error { return nil }
