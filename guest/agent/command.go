package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/guest/reap"
)

// command is a process that a client has started, and its standard streams.
type command struct {
	id     execID
	pid    int
	cgroup string // empty without cgroups

	input   *input    // nil if not wanted
	outputs []*output // stdout and stderr, those that are wanted
	tty     *terminal // nil without one

	mu     sync.Mutex // guards pidfd, which is -1 once the process has been reaped
	pidfd  int
	exit   reap.Exit     // valid when exited is closed
	exited chan struct{} // the process has ended
	// finished is closed when its output has been sent, too, or nobody wants it any more.
	finished chan struct{}
}

// startCommand makes the command's streams and cgroup and starts its process.
func startCommand(c *control, p *spec) (*command, error) {
	x := &command{id: newExecID(), exited: make(chan struct{}), finished: make(chan struct{})}
	var err error
	if c.cgroup != "" {
		if x.cgroup, err = makeCgroup(c.cgroup, hex.EncodeToString(x.id[:8]), p.limits); err != nil {
			return nil, err
		}
	} else if p.limits != (Limits{}) {
		return nil, errors.New("limits: this agent has no cgroup")
	}
	theirs, err := x.openStreams(p)
	if err == nil {
		var s spawned
		s, err = p.spawn(c.session.server.processes(), x.cgroup, theirs)
		x.pid, x.pidfd = s.pid, s.pidfd
		closeFiles(theirs)
		if err == nil {
			x.run(s.ended, p.waitDelay)
			return x, nil
		}
	}
	x.closeStreams()
	if x.cgroup != "" {
		unix.Rmdir(x.cgroup)
	}
	return nil, err
}

func (s *Server) processes() Processes {
	if s.Processes != nil {
		return s.Processes
	}
	return reap.Each{}
}

// run carries the command's bytes and waits for its end.
func (x *command) run(ended <-chan reap.Exit, waitDelay time.Duration) {
	if x.input != nil {
		go x.input.run()
	}
	var sent sync.WaitGroup
	for _, o := range x.outputs {
		sent.Go(o.run)
	}
	go func() {
		exit := <-ended
		x.mu.Lock()
		unix.Close(x.pidfd)
		x.pidfd, x.exit = -1, exit
		x.mu.Unlock()
		close(x.exited)

		if x.input != nil {
			x.input.stop()
		}
		if x.tty != nil {
			x.tty.closeSlave()
		}
		// What the process wrote is in its pipes. Those whom it left behind may hold them open for ever.
		late := time.AfterFunc(waitDelay, func() {
			for _, o := range x.outputs {
				o.cut()
			}
		})
		sent.Wait()
		late.Stop()
		if x.tty != nil {
			x.tty.close()
		}
		close(x.finished)
	}()
}

// attach gives a stream that a client has opened to what reads or writes it. A second one of a kind is refused.
func (x *command) attach(kind streamKind, stream net.Conn) bool {
	if kind == stdinStream && x.input != nil {
		return x.input.attach(stream)
	}
	for _, o := range x.outputs {
		if o.kind == kind {
			return o.attach(stream)
		}
	}
	return false
}

// abandon kills the process and whom it started and gives up its streams: nobody is there any more.
func (x *command) abandon() {
	x.killAll()
	if x.input != nil {
		x.input.stop()
	}
	for _, o := range x.outputs {
		o.abandon()
	}
}

// killAll kills the process and all whom it started, as far as the cgroup or the session tell.
func (x *command) killAll() {
	if x.cgroup != "" {
		if err := os.WriteFile(x.cgroup+"/cgroup.kill", []byte("1"), 0); err == nil {
			return
		}
	}
	x.signalProcess(unix.SIGKILL)
	x.killSession()
}

func (x *command) signal(s unix.Signal, group bool) error {
	switch {
	case !group:
		return x.signalProcess(s)
	case s == unix.SIGKILL:
		x.killAll()
		return nil
	case x.tty != nil:
		foreground, err := x.tty.foreground()
		if err != nil || foreground <= 0 {
			return os.ErrProcessDone
		}
		return signalGroup(foreground, s)
	}
	// The lock keeps the process from being reaped, and so its number from being another's.
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.pidfd < 0 {
		return os.ErrProcessDone
	}
	return signalGroup(x.pid, s)
}

func signalGroup(group int, s unix.Signal) error {
	err := unix.Kill(-group, s)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (x *command) signalProcess(s unix.Signal) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.pidfd < 0 {
		return os.ErrProcessDone
	}
	err := unix.PidfdSendSignal(x.pidfd, s, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (x *command) resize(size unix.Winsize) error {
	if x.tty == nil {
		return fmt.Errorf("resize pid %d: it has no terminal", x.pid)
	}
	err := x.tty.resize(size)
	if errors.Is(err, os.ErrClosed) {
		return nil // the command has just ended
	}
	return err
}
