package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/hashicorp/yamux"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/guest/agent/agentpb"
)

// Client is the host's end of a session with a guest's agent. Its methods may be called at the same time.
type Client struct {
	mux     *yamux.Session
	control *ttrpc.Client
	agent   agentpb.AgentService
}

// NewClient begins a session on a byte stream and owns the stream from then on: it is closed with the Client, and if
// there is an error. The guest may not be there yet, and the line may hold stale bytes: NewClient asks again until the
// agent answers or ctx ends.
func NewClient(ctx context.Context, conn io.ReadWriteCloser) (*Client, error) {
	ready, err := greet(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("agent: connect: %w", err)
	}
	mux, err := yamux.Client(ready, sessionConfig())
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("agent: connect: %w", err)
	}
	c := &Client{mux: mux}
	stream, err := c.open(streamHeader{kind: controlStream})
	if err != nil {
		mux.Close()
		return nil, fmt.Errorf("agent: connect: %w", err)
	}
	c.control = ttrpc.NewClient(newFrameConn(stream, frameResponse))
	c.agent = agentpb.NewAgentClient(c.control)
	return c, nil
}

// open opens a stream.
func (c *Client) open(h streamHeader) (*yamux.Stream, error) {
	if n := c.mux.NumStreams(); n >= maxStreams {
		return nil, fmt.Errorf("%d streams are open", n)
	}
	stream, err := c.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	if err := h.writeTo(stream); err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

// Close ends the session. The guest's agent kills every command that the Client started and that still runs.
func (c *Client) Close() error {
	c.control.Close()
	return c.mux.Close()
}

// Done is closed when the session has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.mux.CloseChan() }

// wrap says what failed, and makes ErrClosed of the ways in which a session's end shows.
func (c *Client) wrap(operation string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ttrpc.ErrClosed), c.mux.IsClosed():
		err = ErrClosed
	default:
		if s, ok := status.FromError(err); ok && s.Code() == codes.FailedPrecondition {
			err = ErrEnding
		} else if ok {
			err = remoteError{s.Message(), nil}
		}
	}
	return fmt.Errorf("agent: %s: %w", operation, err)
}

// Info is what a guest tells about itself.
type Info struct {
	Hostname string
	Kernel   string // uname -r
	Machine  string // uname -m
	CPUs     int
	Memory   uint64 // bytes, MemTotal
	Uptime   time.Duration
	Time     time.Time
}

// Info asks for the guest's Info.
func (c *Client) Info(ctx context.Context) (Info, error) {
	r, err := c.agent.Info(ctx, &agentpb.InfoRequest{})
	if err != nil {
		return Info{}, c.wrap("info", err)
	}
	return Info{
		Hostname: r.Hostname,
		Kernel:   r.Kernel,
		Machine:  r.Machine,
		CPUs:     int(r.Cpus),
		Memory:   r.Memory,
		Uptime:   time.Duration(r.UptimeNs),
		Time:     time.Unix(0, r.TimeNs),
	}, nil
}

// Sync writes the guest's dirty data out, as sync(2).
func (c *Client) Sync(ctx context.Context) error {
	_, err := c.agent.Sync(ctx, &agentpb.SyncRequest{})
	return c.wrap("sync", err)
}

// Caches are the values of /proc/sys/vm/drop_caches.
type Caches int

// The caches; they may be added.
const (
	PageCache Caches = 1
	Dentries  Caches = 2 // and inodes
)

// DropCaches makes the guest forget clean caches.
func (c *Client) DropCaches(ctx context.Context, which Caches) error {
	_, err := c.agent.DropCaches(ctx, &agentpb.DropCachesRequest{Which: uint32(which)})
	return c.wrap("drop caches", err)
}

// StepClock moves the guest's wall clock by an amount.
func (c *Client) StepClock(ctx context.Context, by time.Duration) error {
	_, err := c.agent.StepClock(ctx, &agentpb.StepClockRequest{ByNs: int64(by)})
	return c.wrap("step clock", err)
}

// PowerOff ends the guest: processes are asked to end, then killed, file systems synced and unmounted. It returns when
// the guest has begun; the session ends soon after. A guest that had begun before, by itself, is ErrEnding.
func (c *Client) PowerOff(ctx context.Context) error {
	return c.end(ctx, "power off", agentpb.Action_POWER_OFF)
}

// Reboot is PowerOff with another outcome.
func (c *Client) Reboot(ctx context.Context) error {
	return c.end(ctx, "reboot", agentpb.Action_REBOOT)
}

func (c *Client) end(ctx context.Context, operation string, action agentpb.Action) error {
	_, err := c.agent.End(ctx, &agentpb.EndRequest{Action: action})
	if err = c.wrap(operation, err); errors.Is(err, ErrClosed) {
		return nil // the machine was faster than its answer
	}
	return err
}
