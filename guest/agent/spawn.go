package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/guest/program"
	"tandem/guest/reap"
	"tandem/internal/thread"
)

// spawned is a process that has just been started.
type spawned struct {
	pid   int
	pidfd int
	ended <-chan reap.Exit
}

// spawn starts the program. files are its standard streams.
func (p *spec) spawn(processes Processes, cgroup string, files [3]*os.File) (s spawned, err error) {
	if len(p.binds) == 0 {
		return p.fork(processes, cgroup, files)
	}
	thread.Throwaway(func() {
		if err = p.unshareMounts(); err == nil {
			s, err = p.fork(processes, cgroup, files)
		}
	})
	return s, err
}

func (p *spec) fork(processes Processes, cgroup string, files [3]*os.File) (spawned, error) {
	if info, err := os.Stat(p.dir); err != nil || !info.IsDir() {
		return spawned{}, fmt.Errorf("working directory %q: %w", p.dir, firstError(err, unix.ENOTDIR))
	}
	file, err := program.Find(p.args[0], p.env, p.dir)
	if err != nil {
		return spawned{}, err
	}
	credential, err := p.credential()
	if err != nil {
		return spawned{}, err
	}
	s := spawned{pidfd: -1}
	sys := &syscall.SysProcAttr{
		// A session of its own, so that a signal to a group reaches the command's and nobody else's.
		Setsid:     true,
		Setctty:    p.tty,
		Credential: credential,
		PidFD:      &s.pidfd,
	}
	if cgroup != "" {
		folder, err := os.Open(cgroup)
		if err != nil {
			return spawned{}, err
		}
		defer folder.Close()
		sys.UseCgroupFD, sys.CgroupFD = true, int(folder.Fd())
	}
	attr := &syscall.ProcAttr{Dir: p.dir, Env: p.env, Sys: sys}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	s.pid, s.ended, err = processes.Start(file, p.args, attr)
	runtime.KeepAlive(files)
	if err != nil {
		return spawned{}, program.StartError(err)
	}
	return s, nil
}

// unshareMounts gives this thread a mount namespace with the spec's bind mounts.
func (p *spec) unshareMounts() error {
	// Implies CLONE_FS: the thread's root and working directory become its own, too.
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	// Slave: what the machine mounts later is seen, and the bind mounts are seen by nobody else.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts slave: %w", err)
	}
	for _, b := range p.binds {
		if err := b.mount(); err != nil {
			return fmt.Errorf("bind mount of %q at %q: %w", b.Source, b.Target, err)
		}
	}
	return nil
}

func (b Bind) mount() error {
	if err := b.makeTarget(); err != nil {
		return err
	}
	if err := unix.Mount(b.Source, b.Target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !b.ReadOnly {
		return nil
	}
	return unix.Mount("", b.Target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// makeTarget makes what is missing to mount on: a folder for a folder, a file for anything else.
func (b Bind) makeTarget() error {
	source, err := os.Stat(b.Source)
	if err != nil {
		return err
	}
	if _, err := os.Stat(b.Target); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if source.IsDir() {
		return os.MkdirAll(b.Target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(b.Target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(b.Target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// firstError is the first of the errors that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
