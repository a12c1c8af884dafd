package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/guest/agent/agentpb"
)

// This file holds the requests that concern the whole machine.

// Info implements agentpb.AgentService.
func (c *control) Info(context.Context, *agentpb.InfoRequest) (*agentpb.InfoResponse, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return nil, fmt.Errorf("sysinfo: %w", err)
	}
	var uptime unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &uptime); err != nil {
		return nil, fmt.Errorf("clock_gettime: %w", err)
	}
	return &agentpb.InfoResponse{
		Hostname: unix.ByteSliceToString(name.Nodename[:]),
		Kernel:   unix.ByteSliceToString(name.Release[:]),
		Machine:  unix.ByteSliceToString(name.Machine[:]),
		Cpus:     uint32(runtime.NumCPU()),
		Memory:   system.Totalram * uint64(system.Unit),
		UptimeNs: uptime.Nano(),
		TimeNs:   time.Now().UnixNano(),
	}, nil
}

// Sync implements agentpb.AgentService.
func (c *control) Sync(context.Context, *agentpb.SyncRequest) (*agentpb.SyncResponse, error) {
	unix.Sync()
	return &agentpb.SyncResponse{}, nil
}

// DropCaches implements agentpb.AgentService.
func (c *control) DropCaches(_ context.Context, req *agentpb.DropCachesRequest) (*agentpb.DropCachesResponse, error) {
	if req.Which < 1 || req.Which > 3 {
		return nil, status.Errorf(codes.InvalidArgument, "drop caches %d: 1, 2 or 3", req.Which)
	}
	err := os.WriteFile("/proc/sys/vm/drop_caches", fmt.Append(nil, req.Which), 0)
	return &agentpb.DropCachesResponse{}, err
}

// StepClock implements agentpb.AgentService.
func (c *control) StepClock(_ context.Context, req *agentpb.StepClockRequest) (*agentpb.StepClockResponse, error) {
	if c.session.server.StepClock == nil {
		return nil, status.Error(codes.Unimplemented, "this agent may not change the clock")
	}
	return &agentpb.StepClockResponse{}, c.session.server.StepClock(time.Duration(req.ByNs))
}

// End implements agentpb.AgentService.
func (c *control) End(_ context.Context, req *agentpb.EndRequest) (*agentpb.EndResponse, error) {
	action, ok := map[agentpb.Action]Action{agentpb.Action_POWER_OFF: PowerOff, agentpb.Action_REBOOT: Reboot}[req.Action]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "action %d", req.Action)
	}
	if c.session.server.End == nil {
		return nil, status.Error(codes.Unimplemented, "this agent does not run in a machine of its own")
	}
	err := c.session.server.End(action)
	if errors.Is(err, ErrEnding) {
		err = status.Error(codes.FailedPrecondition, err.Error())
	}
	return &agentpb.EndResponse{}, err
}
