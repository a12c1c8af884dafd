package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"tandem/guest/reap"
)

// Server is the guest's end: it runs commands for the clients of a session. Its fields must not change while it serves.
type Server struct {
	// Env is the default environment of commands. Nil is this process's own.
	Env []string
	// Cgroup is a cgroup v2 folder to make cgroups for commands in. Empty means none: then a command's children are
	// found by their session, which they may leave.
	Cgroup string
	// Processes starts and reaps processes. Nil waits for those that the agent itself starts.
	Processes Processes
	// End is asked to end the machine: it begins to, and returns. Nil refuses.
	End func(Action) error
	// Ending tells whether the machine is on its way down, by whosever wish: a command that a signal ends then was ended by
	// that, and its client is told so, by ErrEnding, in place of a signal of which it could not know the reason. Nil is
	// never.
	Ending func() bool
	// StepClock moves the machine's wall clock. Nil refuses, as befits an agent that runs on a machine of somebody else's.
	StepClock func(by time.Duration) error

	start func(*control, *spec) (*command, error) // startCommand, unless a test feeds it what must not run
}

// Processes starts processes and reports their end. It is *reap.Reaper in pid 1.
type Processes interface {
	Start(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, ended <-chan reap.Exit, err error)
}

// Action is a way to end the machine.
type Action int

// The actions.
const (
	PowerOff Action = iota + 1
	Reboot
)

// headerTimeout bounds the wait for the first bytes of a stream, which are sent as it is opened.
const headerTimeout = time.Minute

// Serve is Serve of a Server with no settings.
func Serve(ctx context.Context, conn io.ReadWriteCloser) error { return (&Server{}).Serve(ctx, conn) }

// Serve waits for a client on conn, serves it until the session or ctx ends, and closes conn. Nothing that it started
// is left when it returns. A session that the client ended is not an error; a stream that ended before a client came is
// ErrNoClient.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	defer conn.Close()
	defer closeOn(ctx, conn)()
	ready, err := welcome(conn)
	if err != nil {
		return noClient(ctx, err)
	}
	mux, err := yamux.Server(ready, sessionConfig())
	if err != nil {
		return fmt.Errorf("agent: serve: %w", err)
	}
	session := &session{server: s, mux: mux, commands: make(map[execID]*command)}
	return serveError(ctx, session.serve(ctx))
}

// noClient is the error for a stream that ended before a client came.
func noClient(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("agent: serve: %w: %w", ErrNoClient, err)
}

func serveError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	}
	for _, end := range []error{
		io.EOF, io.ErrClosedPipe, net.ErrClosed, os.ErrClosed, yamux.ErrSessionShutdown,
		unix.ECONNRESET, unix.EPIPE,
		unix.EIO,                // a terminal line whose other end hung up
		yamux.ErrInvalidVersion, // the next client's hello, on a line that does not tell when the last one left
	} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return fmt.Errorf("agent: serve: %w", err)
}

// session is one client's, or with Client.Proxy, that of the many clients that share it.
type session struct {
	server *Server
	mux    *yamux.Session

	mu       sync.Mutex
	commands map[execID]*command // of all control streams
}

// serve accepts streams until the session ends.
func (s *session) serve(ctx context.Context) error {
	var streams sync.WaitGroup
	defer streams.Wait()
	defer s.mux.Close()
	for {
		stream, err := s.mux.AcceptStream()
		if err != nil {
			return err
		}
		if n := s.mux.NumStreams(); n > maxStreams {
			return fmt.Errorf("%d streams are open", n)
		}
		streams.Go(func() { s.serveStream(ctx, stream) })
	}
}

// serveStream gives a stream to those that it is for.
func (s *session) serveStream(ctx context.Context, stream *yamux.Stream) {
	stream.SetReadDeadline(time.Now().Add(headerTimeout))
	header, err := readStreamHeader(stream)
	if err != nil {
		stream.Close()
		return
	}
	stream.SetReadDeadline(time.Time{})
	if header.kind == controlStream {
		newControl(s).serve(ctx, stream)
		return
	}
	if c := s.command(header.exec); c == nil || !c.attach(header.kind, stream) {
		stream.Close()
	}
}

// startCommand runs what a client asked for.
func (s *Server) startCommand(c *control, p *spec) (*command, error) {
	if s.start != nil {
		return s.start(c, p)
	}
	return startCommand(c, p)
}

func (s *session) command(id execID) *command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands[id]
}

func (s *session) add(c *command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands[c.id] = c
}

func (s *session) remove(c *command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.commands, c.id)
}

// oneListener is a net.Listener of one connection, as ttrpc serves listeners. It ends with the connection, which is
// seen as soon as a Read of it fails: ttrpc itself goes on while answers are due.
type oneListener struct {
	conn chan net.Conn
	done chan struct{}
	once sync.Once
}

func listenOne(conn net.Conn) *oneListener {
	l := &oneListener{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conn <- watchedConn{conn, l}
	return l
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conn:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return &net.UnixAddr{Name: protocol, Net: "unix"} }

type watchedConn struct {
	net.Conn
	listener *oneListener
}

func (c watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.listener.Close()
	}
	return n, err
}

func (c watchedConn) Close() error {
	c.listener.Close()
	return c.Conn.Close()
}
