package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
	"tandem/container/child"
	"tandem/container/resctrl"
	"tandem/internal/plan"
	"tandem/internal/process"
)

// Container is one that exists: its state is on disk.
type Container struct {
	engine *Engine
	state  *state
	config *specs.Spec // once it was read
	notify *net.UnixConn
}

func (c *Container) dir() string { return filepath.Join(c.engine.Root, c.state.ID) }

// wrap says of which container an error is.
func (c *Container) wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("container %s: %s: %w", c.state.ID, operation, err)
}

// ID is the container's.
func (c *Container) ID() string { return c.state.ID }

// Config is the configuration that the container was made from.
func (c *Container) Config() (*specs.Spec, error) {
	if c.config != nil {
		return c.config, nil
	}
	_, text, err := readStateAndConfig(c.dir())
	if err != nil {
		return nil, c.wrap("read configuration", err)
	}
	config, err := ParseConfig(text)
	if err != nil {
		return nil, c.wrap("read configuration", err)
	}
	c.config = config
	return config, nil
}

// Rootfs is the host's path of its root file system, Created the time of its making, Owner the user who made it.
func (c *Container) Rootfs() string     { return c.state.Rootfs }
func (c *Container) Created() time.Time { return c.state.Created }
func (c *Container) Owner() int         { return c.state.Owner }

// StatePaused is a status beside those of the specification: all processes are frozen.
const StatePaused specs.ContainerState = "paused"

// State is what `state` prints, as it is now.
func (c *Container) State() (*specs.State, error) {
	status, err := c.status()
	if err != nil {
		return nil, c.wrap("state", err)
	}
	pid := c.state.Init.PID
	if status == specs.StateStopped {
		pid = 0
	}
	return c.state.specState(status, pid), nil
}

func (c *Container) status() (specs.ContainerState, error) {
	if c.state.Init.PID == 0 {
		if c.state.Maker.Alive() {
			return specs.StateCreating, nil
		}
		// It may have come to its end since the state was read. What it has left by now is final.
		if err := c.catchUp(); err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	if !c.state.Init.Alive() {
		return specs.StateStopped, nil
	}
	if g, err := c.Cgroup(); err == nil && g != nil {
		if s, err := g.State(); err == nil && s == cgroup.Frozen {
			return StatePaused, nil
		}
	}
	if c.waits() {
		return specs.StateCreated, nil
	}
	return specs.StateRunning, nil
}

func (c *Container) startFIFO() string { return filepath.Join(c.dir(), startFIFO) }

// waits tells whether the process waits to be started: as long as it does, it has the FIFO open. That is what it does, and not
// what somebody has put down, who may have been killed meanwhile.
func (c *Container) waits() bool {
	fd, err := unix.Open(c.startFIFO(), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// Cgroup is the container's, or nil if it has none of its own.
func (c *Container) Cgroup() (*cgroup.Group, error) {
	if len(c.state.Cgroup) == 0 {
		return nil, nil
	}
	return cgroup.Open(c.state.Cgroup)
}

// Start executes the container's command. A command that cannot be executed is an error.
func (c *Container) Start(ctx context.Context) error {
	status, err := c.status()
	if err == nil && status != specs.StateCreated {
		err = fmt.Errorf("%w, but %s", ErrNotCreated, status)
	}
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		return c.wrap("start", err)
	}
	return c.started(ctx)
}

// started runs the hooks of a container that runs.
//
// What a failing one means has changed: up to version 1.2 of the specification it was a warning, from 1.3 on the container
// is stopped (runtime.md, Lifecycle).
func (c *Container) started(ctx context.Context) error {
	err := runAll(ctx, "poststart", c.state.Poststart, c.state.specState(specs.StateRunning, c.state.Init.PID))
	if err != nil && minorVersion(c.state.Version) < 3 {
		c.engine.warn("container %s: %v", c.state.ID, err)
		return nil
	}
	if err != nil {
		err = errors.Join(err, ignoreGone(c.stop(ctx)))
	}
	return c.wrap("start", err)
}

// stop kills the container's process, frozen or not, and waits until it has ended.
func (c *Container) stop(ctx context.Context) error {
	fd, err := c.pidFD()
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	defer fd.Close()
	if err := process.Signal(fd, unix.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	if g, err := c.Cgroup(); err == nil && g != nil {
		if s, err := g.State(); err == nil && s != cgroup.Running {
			if err := g.Thaw(ctx); err != nil {
				return err
			}
		}
	}
	return process.Await(ctx, fd)
}

func (c *Container) start(ctx context.Context) error {
	// The process has both open for writing, so this one has an end when the process executes its command, or has gone.
	failed, err := c.openFailed()
	if err != nil {
		return err
	}
	defer failed.Close()
	begin, err := os.OpenFile(c.startFIFO(), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) { // the second if nobody waits
		return fmt.Errorf("%w any more", ErrNotCreated)
	}
	if err != nil {
		return err
	}
	defer begin.Close()
	if err := c.startHooks(ctx); err != nil {
		return errors.Join(err, c.stop(ctx)) // runtime.md, Lifecycle, step 8
	}
	if _, err := begin.Write([]byte{0}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { failed.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	failure, err := child.ReadFailure(failed)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case failure != nil:
		return fmt.Errorf("execute %s: %w", c.state.Command, failure.Err)
	}
	// Both go with the folder at the latest, which may be gone by now, as somebody else may have removed a container that has ended.
	_, _ = os.Remove(c.startFIFO()), os.Remove(failed.Name())
	return nil
}

// openFailed opens the FIFO by which the process tells that it has failed. Whoever has it locked is the one who starts it.
func (c *Container) openFailed() (*os.File, error) {
	path := filepath.Join(c.dir(), failedFIFO)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w any more", ErrNotCreated)
	}
	if err == nil {
		if err = flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			unix.Close(fd)
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w any more: it is being started", ErrNotCreated)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// startHooks run in the container with the rights of its process, as they are files of the container's.
func (c *Container) startHooks(ctx context.Context) error {
	for i, hook := range c.state.StartHooks {
		if err := c.runInside(ctx, hook); err != nil {
			return fmt.Errorf("hooks.startContainer[%d]: %w", i, err)
		}
	}
	return nil
}

// Signal sends a signal to the container's process; with all, to every process of its cgroup.
func (c *Container) Signal(ctx context.Context, s syscall.Signal, all bool) error {
	return c.wrap("kill", c.signal(ctx, s, all))
}

func (c *Container) signal(ctx context.Context, s syscall.Signal, all bool) error {
	g, err := c.Cgroup()
	if err != nil && all {
		return err
	}
	if all && g != nil {
		if s == unix.SIGKILL {
			return g.Kill(ctx)
		}
		pids, err := g.AllPids()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, s); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		return nil
	}
	fd, err := c.pidFD()
	if err != nil {
		return err
	}
	defer fd.Close()
	if err := process.Signal(fd, s); !errors.Is(err, process.ErrGone) {
		return err
	}
	return ErrNotRunning
}

// PIDFD holds on to the container's process, see pidfd_open(2). The file is the caller's. ErrNotRunning is one that has ended.
func (c *Container) PIDFD() (*os.File, error) {
	f, err := c.pidFD()
	return f, c.wrap("pidfd", err)
}

// pidFD holds on to the container's process. ErrNotRunning is one that has ended.
func (c *Container) pidFD() (*os.File, error) {
	f, err := c.state.Init.Open()
	if errors.Is(err, process.ErrGone) {
		return nil, ErrNotRunning
	}
	return f, err
}

// Delete removes a container that has stopped, and runs its poststop hooks. One that was created and never started is
// killed. With force it is killed in whatever state it is; and what a crash has left is removed.
func (c *Container) Delete(ctx context.Context, force bool) error {
	return c.wrap("delete", c.delete(ctx, force))
}

func (c *Container) delete(ctx context.Context, force bool) error {
	unlock, err := c.lock(ctx)
	if errors.Is(err, ErrNotFound) && force {
		return nil // somebody else has removed it meanwhile
	}
	if err != nil {
		return err
	}
	defer unlock()
	status, err := c.status()
	if err != nil && !force {
		return err
	}
	if status != specs.StateStopped && status != specs.StateCreated && !force {
		return fmt.Errorf("%w, but %s", ErrRunning, status)
	}
	if err := c.end(ctx); err != nil {
		return err
	}
	if c.state.HostMounts {
		if err := unmountRoot(c.state.Rootfs, c.state.Beneath); err != nil {
			return err
		}
	}
	if c.state.RDT != nil {
		if err := resctrl.Remove(c.state.RDT.Owned); err != nil {
			return err
		}
	}
	hooks := runAll(ctx, "poststop", c.state.Poststop, c.state.specState(specs.StateStopped, 0))
	if hooks != nil {
		c.engine.warn("container %s: %v", c.state.ID, hooks) // runtime.md, Lifecycle, step 13: the rest goes on
	}
	return removeState(c.dir())
}

// mountID tells which mount a folder is on.
func mountID(path string) (uint64, error) {
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &x); err != nil {
		return 0, fmt.Errorf("statx %s: %w", path, err)
	}
	return x.Mnt_id, nil
}

// unmountRoot takes a container's mounts off the host: what was mounted on the path since it was on the mount beneath.
func unmountRoot(path string, beneath uint64) error {
	now, err := mountID(path)
	if errors.Is(err, unix.ENOENT) || err == nil && now == beneath {
		return nil
	}
	if err != nil {
		return err
	}
	err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.NewSyscallError("umount2 "+path, err)
}

// end ends all of the container's processes, and removes its cgroup.
func (c *Container) end(ctx context.Context) error {
	if err := c.stop(ctx); err != nil {
		return err
	}
	g, err := c.Cgroup()
	if errors.Is(err, cgroup.ErrGone) || g == nil && err == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.state.OwnPIDs || c.state.Init.PID == 0 { // others may be left, or it is not known whose end would be theirs
		if err := g.Kill(ctx); err != nil && !errors.Is(err, cgroup.ErrGone) {
			return err
		}
	}
	if err := g.Remove(ctx); err != nil && !errors.Is(err, cgroup.ErrGone) {
		return err
	}
	return nil
}

// Pause freezes all of the container's processes.
func (c *Container) Pause(ctx context.Context) error {
	status, err := c.status()
	if err == nil && status != specs.StateRunning && status != specs.StateCreated {
		err = fmt.Errorf("%w, but %s", ErrNotRunning, status)
	}
	return c.wrap("pause", c.withCgroup(err, func(g *cgroup.Group) error { return g.Freeze(ctx) }))
}

// Resume thaws them.
func (c *Container) Resume(ctx context.Context) error {
	status, err := c.status()
	if err == nil && status != StatePaused {
		err = fmt.Errorf("container is not paused, but %s", status)
	}
	return c.wrap("resume", c.withCgroup(err, func(g *cgroup.Group) error { return g.Thaw(ctx) }))
}

// Update changes the limits of a container.
func (c *Container) Update(ctx context.Context, r *specs.LinuxResources) error {
	return c.wrap("update", c.withCgroup(nil, func(g *cgroup.Group) error {
		steps, err := g.Update(r)
		if err != nil {
			return err
		}
		p := plan.New("update container " + c.state.ID)
		p.Add(steps...)
		_, err = p.Run(ctx)
		return err
	}))
}

// Pids are the numbers of all processes in the container, in this process's PID namespace.
func (c *Container) Pids() (pids []int, err error) {
	err = c.withCgroup(nil, func(g *cgroup.Group) error {
		pids, err = g.AllPids()
		return err
	})
	return pids, c.wrap("ps", err)
}

func (c *Container) withCgroup(err error, f func(*cgroup.Group) error) error {
	if err != nil {
		return err
	}
	g, err := c.Cgroup()
	if err != nil {
		return err
	}
	if g == nil {
		return fmt.Errorf("%w: the container has no cgroup of its own", ErrNotSupported)
	}
	return f(g)
}

// Process is a process of a container's that this process has started.
type Process struct{ child *child.Process }

// PID is its number.
func (p *Process) PID() int { return p.child.PID }

// Wait waits for its end.
func (p *Process) Wait() (syscall.WaitStatus, error) { return p.child.Wait() }

// Signal sends it a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.child.Signal(s) }

// Kill ends the process, if it has not ended yet, and reaps it.
func (p *Process) Kill() error { return p.child.Kill() }

// Release forgets the process, which goes on.
func (p *Process) Release() { p.release() }

func (p *Process) release() { p.child.Close() }
