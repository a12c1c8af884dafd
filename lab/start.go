package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// The supervisor's inherited descriptors, after the standard ones.
const (
	lockFD   = 3 // the supervisor's file, locked
	listenFD = 4 // the socket, listening
)

// Verb is the hidden command of tandem's that becomes a lab's supervisor: `tandem lab supervise`.
const Verb = "supervise"

// supervisorVariable keeps a program that is not tandem, and so takes no notice of the verb, from starting itself for ever.
const supervisorVariable = "TANDEM_LAB_SUPERVISOR"

// child is a supervisor that this process has started.
type child struct {
	pid   int
	ended chan struct{} // closed when it has ended
	err   error         // its exit status, valid then
}

// verdict waits for the end of a supervisor that no longer listens, and returns why it failed, or nil if it did not: then
// it was told to go down by somebody.
func (c *child) verdict(ctx context.Context, d dir) error {
	select {
	case <-c.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.err == nil {
		return nil
	}
	if reason := d.failure(c.pid); reason != nil {
		return reason
	}
	text, _ := os.ReadFile(d.file(logFile))
	said := &tail{}
	_, _ = said.Write(text)
	return fmt.Errorf("supervisor: %w; it said:%v", c.err, said)
}

// start starts a supervisor, unless somebody else has in the meantime: then it returns nil. The socket listens when
// start returns, though the lab has yet to boot.
func (d dir) start(ctx context.Context, o Options) (*child, error) {
	if os.Getenv(supervisorVariable) != "" {
		return nil, fmt.Errorf("this program was started as `tandem lab %s` and is not tandem", Verb)
	}
	starting, err := d.lockForStart(ctx)
	if err != nil {
		return nil, err
	}
	defer starting.Close()
	// A supervisor holds its lock for life, so this one is dead, or has gone down in good order, or still listens.
	supervisor, err := tryLock(d.file(supervisorFile), os.O_RDWR|os.O_CREATE)
	if errors.Is(err, errLocked) {
		return nil, d.awaitOther(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer supervisor.Close()
	if err := d.clean(ctx, supervisor); err != nil {
		return nil, fmt.Errorf("clean up after a dead supervisor: %w", err)
	}
	c, err := d.spawn(supervisor, o)
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return c, nil
}

// lockForStart takes the lock of those who start labs. The folder may be removed at any time before.
func (d dir) lockForStart(ctx context.Context) (*os.File, error) {
	for {
		if err := d.make(); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			return nil, err
		}
		f, err := lock(ctx, string(d), os.O_RDONLY)
		if !errors.Is(err, os.ErrNotExist) {
			return f, err
		}
	}
}

// awaitOther is for when there is a supervisor: it listens, and there is nothing to do, or it is about to end.
func (d dir) awaitOther(ctx context.Context) error {
	conn, _, err := d.dial(ctx, wantState)
	if err == nil {
		return conn.Close()
	}
	if errors.Is(err, ErrNotRunning) || errors.Is(err, errGone) {
		return d.awaitGone(ctx)
	}
	return err
}

// spawn starts the supervisor as a process that no longer belongs to this one, with the lock and a listening socket.
func (d dir) spawn(supervisor *os.File, o Options) (*child, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.file(socketFile), Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	log, err := os.OpenFile(d.file(logFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	program := o.Program
	if program == "" {
		// The link names the very file, even if it has been removed or replaced since.
		program = "/proc/self/exe"
	}
	cmd := exec.Command(program, "lab", Verb)
	cmd.Args[0] = "tandem"
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), supervisorVariable+"=1")
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lockFD - 3: supervisor, listenFD - 3: socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = os.Remove(d.file(socketFile))
		return nil, err
	}
	c := &child{pid: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}
