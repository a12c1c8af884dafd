package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/guest/agent/agentpb"
)

// maxCommands bounds the commands of one control stream that have not been waited for.
const maxCommands = 1024

// maxSignal is _NSIG of asm/signal.h.
const maxSignal = 64

// control serves one control stream. The commands that it has started end with it.
type control struct {
	session *session
	cgroup  string // of this control stream; empty without cgroups

	mu       sync.Mutex
	closed   bool
	commands map[execID]*command
	left     []*command     // ended, and forgotten but for the processes that they left behind
	starting sync.WaitGroup // Add only under mu and while not closed
}

var controlCount atomic.Uint64

func newControl(s *session) *control {
	c := &control{session: s, commands: make(map[execID]*command)}
	if s.server.Cgroup != "" {
		c.cgroup = filepath.Join(s.server.Cgroup, "client-"+strconv.FormatUint(controlCount.Add(1), 10))
	}
	return c
}

// serve returns when the stream has ended and everything started through it has, too.
func (c *control) serve(ctx context.Context, stream net.Conn) {
	defer stream.Close()
	defer c.close()
	server, err := ttrpc.NewServer(ttrpc.WithUnaryServerInterceptor(surviving))
	if err != nil {
		return
	}
	defer server.Close()
	agentpb.RegisterAgentService(server, c)
	server.Serve(ctx, listenOne(newFrameConn(stream, frameRequest))) // always with an error: the stream's end
}

// surviving answers a handler's panic with an error: the agent is part of pid 1, and the machine would panic with it.
func surviving(ctx context.Context, unmarshal ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, method ttrpc.Method) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = status.Errorf(codes.Internal, "%s: panic: %v\n%s", info.FullMethod, p, debug.Stack())
		}
	}()
	return method(ctx, unmarshal)
}

// close kills what is left.
func (c *control) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.starting.Wait()

	// With closed set and no start under way, commands has seen its last addition.
	c.mu.Lock()
	left := c.left
	for _, command := range c.commands {
		left = append(left, command)
	}
	c.mu.Unlock()
	for _, command := range left {
		command.abandon()
	}
	if c.cgroup != "" {
		killCgroup(c.cgroup)
	}
	late := time.After(killTimeout)
	for _, command := range left {
		select {
		case <-command.finished:
		case <-late: // it hangs in the kernel
		}
		c.forget(command)
	}
	if c.cgroup != "" {
		removeCgroup(c.cgroup)
	}
}

// Start implements agentpb.AgentService.
func (c *control) Start(_ context.Context, req *agentpb.StartRequest) (*agentpb.StartResponse, error) {
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return nil, status.Error(codes.Unavailable, "the control stream has ended")
	case len(c.commands) >= maxCommands:
		c.mu.Unlock()
		return nil, status.Errorf(codes.ResourceExhausted, "%d commands wait to be waited for", maxCommands)
	}
	c.starting.Add(1)
	c.mu.Unlock()
	defer c.starting.Done()

	spec, err := newSpec(c.session.server, req)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	command, err := c.session.server.startCommand(c, spec)
	if err != nil {
		return &agentpb.StartResponse{Failure: failureOf(err), Text: err.Error()}, nil
	}
	c.mu.Lock()
	c.commands[command.id] = command
	c.mu.Unlock()
	c.session.add(command)
	return &agentpb.StartResponse{Exec: command.id[:], Pid: int64(command.pid)}, nil
}

// Wait implements agentpb.AgentService. A command that has been waited for is forgotten when its output is through.
func (c *control) Wait(ctx context.Context, req *agentpb.WaitRequest) (*agentpb.WaitResponse, error) {
	command, err := c.find(req.Exec)
	if err != nil {
		return nil, err
	}
	select {
	case <-command.exited:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	go func() {
		<-command.finished
		c.forget(command)
	}()
	s, u := command.exit.Status, command.exit.Usage
	if ending := c.session.server.Ending; ending != nil && s.Signaled() && ending() {
		return nil, status.Error(codes.FailedPrecondition, ErrEnding.Error())
	}
	answer := &agentpb.WaitResponse{
		UserNs:   time.Duration(u.Utime.Nano()).Nanoseconds(),
		SystemNs: time.Duration(u.Stime.Nano()).Nanoseconds(),
		MaxRss:   u.Maxrss << 10, // getrusage(2): in KiB
	}
	if s.Signaled() {
		answer.Signal, answer.CoreDumped = int32(s.Signal()), s.CoreDump()
	} else {
		answer.Code = int32(s.ExitStatus())
	}
	return answer, nil
}

// Signal implements agentpb.AgentService.
func (c *control) Signal(_ context.Context, req *agentpb.SignalRequest) (*agentpb.SignalResponse, error) {
	command, err := c.find(req.Exec)
	if err != nil {
		return nil, err
	}
	if req.Signal < 0 || req.Signal > maxSignal {
		return nil, status.Errorf(codes.InvalidArgument, "signal %d", req.Signal)
	}
	err = command.signal(unix.Signal(req.Signal), req.Group)
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return &agentpb.SignalResponse{Done: true}, nil
	case err != nil:
		return nil, fmt.Errorf("signal %d to pid %d: %w", req.Signal, command.pid, err)
	}
	return &agentpb.SignalResponse{}, nil
}

// Resize implements agentpb.AgentService.
func (c *control) Resize(_ context.Context, req *agentpb.ResizeRequest) (*agentpb.ResizeResponse, error) {
	command, err := c.find(req.Exec)
	if err != nil {
		return nil, err
	}
	size, err := winsize(req.Size)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &agentpb.ResizeResponse{}, command.resize(size)
}

// find returns a command of this control stream's.
func (c *control) find(name []byte) (*command, error) {
	id, err := parseExecID(name)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if command := c.commands[id]; command != nil {
		return command, nil
	}
	return nil, status.Errorf(codes.NotFound, "no command %x", id)
}

// forget drops a finished command, but for what it takes to kill its children.
func (c *control) forget(command *command) {
	c.session.remove(command)
	// EBUSY: the cgroup has processes, and the control stream's end kills and removes it.
	orphaned := command.cgroup == "" && len(command.members()) > 0
	if command.cgroup != "" {
		unix.Rmdir(command.cgroup)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.commands[command.id]; known && orphaned {
		c.left = append(c.left, command)
	}
	delete(c.commands, command.id)
}
