package agent

import (
	"context"
	"io"
	"time"
)

// Client is the host's end of a session with a guest's agent. Its methods may be called at the same time.
type Client struct{}

// NewClient begins a session on a byte stream and owns the stream from then on: it is closed with the Client, and if
// there is an error. The guest may not be there yet, and the line may hold stale bytes: NewClient asks again until the
// agent answers or ctx ends.
func NewClient(ctx context.Context, conn io.ReadWriteCloser) (*Client, error) { return nil, errTODO }

// Close ends the session. The guest's agent kills every command that the Client started and that still runs.
func (c *Client) Close() error { return nil }

// Done is closed when the session has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return nil }

// Proxy serves one more client, NewClient's other end, on conn: it gets a session of its own with the same guest, and
// its commands are killed when that session ends. Proxy returns when conn's session has ended; the Client goes on.
func (c *Client) Proxy(ctx context.Context, conn io.ReadWriteCloser) error { return errTODO }

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
func (c *Client) Info(ctx context.Context) (Info, error) { return Info{}, errTODO }

// Sync writes the guest's dirty data out, as sync(2).
func (c *Client) Sync(ctx context.Context) error { return errTODO }

// Caches are the values of /proc/sys/vm/drop_caches.
type Caches int

// The caches; they may be added.
const (
	PageCache Caches = 1
	Dentries  Caches = 2 // and inodes
)

// DropCaches makes the guest forget clean caches.
func (c *Client) DropCaches(ctx context.Context, which Caches) error { return errTODO }

// PowerOff and Reboot end the guest: processes are asked to end, then killed, file systems synced and unmounted. They
// return when the guest has begun; the session ends soon after.
func (c *Client) PowerOff(ctx context.Context) error { return errTODO }
func (c *Client) Reboot(ctx context.Context) error   { return errTODO }
