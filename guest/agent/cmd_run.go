package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"

	"tandem/guest/agent/agentpb"
	"tandem/guest/program"
)

const (
	defaultWaitDelay = 2 * time.Second
	// killGrace is for how long Wait waits for a command that it has killed: the guest may hang.
	killGrace = 10 * time.Second
)

// Command is a Cmd that runs a program of the guest. When ctx ends, the command is killed, and all that it started
// with it.
func (c *Client) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...), client: c, ctx: ctx}
}

// Start starts the command. Its error tells in the terms of os/exec why the guest could not: errors.Is knows
// exec.ErrNotFound (a shell's status 127) and ErrNotExecutable (126).
func (c *Cmd) Start() error {
	switch {
	case c.client == nil:
		return errors.New("agent: start: a Cmd is made by Client.Command")
	case c.exec != nil:
		return errors.New("agent: start: started already")
	case c.TTY && c.Stderr != nil:
		return errors.New("agent: start: a terminal has no stderr of its own")
	case len(c.Args) == 0:
		return errors.New("agent: start: no program named")
	}
	r, err := c.requestStart()
	if err != nil {
		return c.wrap("start", err)
	}
	if err := startError(r); err != nil {
		return c.wrap("start", err)
	}
	if _, err := parseExecID(r.Exec); err != nil {
		return c.wrap("start", err)
	}
	c.exec, c.Pid = r.Exec, int(r.Pid)
	if err := c.openStreams(); err != nil {
		return c.wrap("start", err)
	}
	c.ended = make(chan error, 1)
	go func() { c.ended <- c.wait() }()
	return nil
}

// requestStart asks for the command to be started. If the context ends meanwhile, the command is killed as soon as the
// answer has told its name.
func (c *Cmd) requestStart() (*agentpb.StartResponse, error) {
	type answer struct {
		r   *agentpb.StartResponse
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		r, err := c.client.agent.Start(context.Background(), c.request())
		answers <- answer{r, err}
	}()
	select {
	case a := <-answers:
		return a.r, a.err
	case <-c.ctx.Done():
	}
	go func() {
		if a := <-answers; a.err == nil {
			kill := &agentpb.SignalRequest{Exec: a.r.Exec, Signal: int32(syscall.SIGKILL), Group: true}
			c.client.agent.Signal(context.Background(), kill)
		}
	}()
	return nil, context.Cause(c.ctx)
}

func (c *Cmd) request() *agentpb.StartRequest {
	r := &agentpb.StartRequest{
		Args:        toBytes(c.Args),
		Env:         toBytes(append(c.Env[:len(c.Env):len(c.Env)], c.AddEnv...)),
		DefaultEnv:  c.Env == nil,
		Dir:         []byte(c.Dir),
		User:        c.User,
		Limits:      &agentpb.Limits{Memory: c.Limits.Memory, Pids: c.Limits.Pids},
		Stdin:       c.Stdin != nil,
		Stdout:      c.Stdout != nil,
		WaitDelayNs: int64(max(0, c.WaitDelay)),
	}
	if c.WaitDelay == 0 {
		r.WaitDelayNs = int64(defaultWaitDelay)
	}
	for _, b := range c.Binds {
		r.Binds = append(r.Binds, &agentpb.Bind{Source: []byte(b.Source), Target: []byte(b.Target), ReadOnly: b.ReadOnly})
	}
	switch {
	case c.TTY:
		r.Terminal = &agentpb.Terminal{Rows: uint32(c.Rows), Cols: uint32(c.Cols)}
	case c.Stderr != nil && sameWriter(c.Stdout, c.Stderr):
		r.StderrToStdout = true
	default:
		r.Stderr = c.Stderr != nil
	}
	return r
}

func toBytes(in []string) [][]byte {
	out := make([][]byte, len(in))
	for i, s := range in {
		out[i] = []byte(s)
	}
	return out
}

// sameWriter compares writers, some of which cannot be compared.
func sameWriter(a, b io.Writer) bool {
	defer func() { recover() }()
	return a == b
}

func startError(r *agentpb.StartResponse) error {
	switch r.Failure {
	case agentpb.Failure_NONE:
		return nil
	case agentpb.Failure_NOT_FOUND:
		return program.ErrNotFound
	case agentpb.Failure_NOT_EXECUTABLE:
		return remoteError{r.Text, ErrNotExecutable}
	}
	return remoteError{r.Text, nil}
}

// remoteError is an error that the guest has described.
type remoteError struct {
	text string
	is   error
}

func (e remoteError) Error() string { return fmt.Sprintf("%.1000s", e.text) }
func (e remoteError) Unwrap() error { return e.is }

// wrap says what failed, with the program's name.
func (c *Cmd) wrap(operation string, err error) error {
	return c.client.wrap(fmt.Sprintf("%s %s", operation, c.Args[0]), err)
}

// openStreams opens the command's streams and begins to copy.
func (c *Cmd) openStreams() error {
	exec := execID(c.exec)
	if c.Stdin != nil {
		stream, err := c.client.open(streamHeader{stdinStream, exec})
		if err != nil {
			return err
		}
		go copyInput(stream, c.Stdin)
	}
	for _, o := range []struct {
		kind   streamKind
		writer io.Writer
		apart  bool
	}{
		{stdoutStream, c.Stdout, true},
		{stderrStream, c.Stderr, !sameWriter(c.Stdout, c.Stderr)},
	} {
		if o.writer == nil || !o.apart {
			continue
		}
		stream, err := c.client.open(streamHeader{o.kind, exec})
		if err != nil {
			return err
		}
		c.streams = append(c.streams, stream)
		c.copying.Go(func() {
			if err := copyOutput(o.writer, stream); err != nil {
				c.copyFailed(err)
			}
		})
	}
	return nil
}

// copyInput sends what it reads until that ends, or the command's side closes.
func copyInput(stream *yamux.Stream, from io.Reader) {
	go func() {
		var b [1]byte
		stream.Read(b[:]) // nothing comes but the end: nobody reads any more
		stream.SetWriteDeadline(past)
		stream.Close()
	}()
	io.Copy(onlyWriter{stream}, from)
	stream.Close()
}

// copyOutput writes what the command writes. The stream's end and the session's look the same here; Wait's request
// tells them apart.
func copyOutput(to io.Writer, stream *yamux.Stream) error {
	defer stream.Close() // early after an error: the command gets SIGPIPE
	_, err := io.Copy(to, onlyReader{stream})
	return err
}

// onlyReader and onlyWriter keep io.Copy from looking for other methods.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func (c *Cmd) copyFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copyError == nil {
		c.copyError = err
	}
}

// wait asks for the command's end and waits for its output.
func (c *Cmd) wait() error {
	// Not the Cmd's context: when that ends, the command is killed and its end is still awaited.
	r, err := c.client.agent.Wait(context.Background(), &agentpb.WaitRequest{Exec: c.exec})
	if err != nil {
		c.closeStreams()
		return c.wrap("wait for", err)
	}
	c.copying.Wait()
	c.UserTime, c.SystemTime, c.MaxRSS = time.Duration(r.UserNs), time.Duration(r.SystemNs), r.MaxRss
	switch {
	case r.Code < 0 || r.Code > 255 || r.Signal < 0 || r.Signal > maxSignal:
		return c.wrap("wait for", fmt.Errorf("impossible status %d, signal %d", r.Code, r.Signal))
	case r.Code != 0 || r.Signal != 0:
		return &ExitError{Code: int(r.Code), Signal: syscall.Signal(r.Signal), CoreDumped: r.CoreDumped}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copyError != nil {
		return fmt.Errorf("agent: output of %s: %w", c.Args[0], c.copyError)
	}
	return nil
}

func (c *Cmd) closeStreams() {
	for _, s := range c.streams {
		s.SetReadDeadline(past)
	}
}

// Wait waits for the command to end, and for its output to have been written. A status other than 0 is an *ExitError.
// A command that was ended because the machine ends is ErrEnding.
// When the Cmd's context ends first, the command is killed and the error is the context's.
func (c *Cmd) Wait() error {
	switch {
	case c.ended == nil:
		return errors.New("agent: wait: not started")
	case c.waited:
		return errors.New("agent: wait: waited for already")
	}
	c.waited = true
	select {
	case err := <-c.ended:
		return err
	case <-c.ctx.Done():
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		c.SignalGroup(syscall.SIGKILL)
	}()
	late := time.NewTimer(killGrace)
	defer late.Stop()
	select {
	case err := <-c.ended:
		var exit *ExitError
		if err == nil || errors.As(err, &exit) && exit.Signal == 0 {
			return err // it was faster
		}
	case <-late.C:
		c.closeStreams()
	}
	return c.wrap("run", context.Cause(c.ctx))
}

// Run is Start and Wait.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to Stdout.
func (c *Cmd) Output() ([]byte, error) {
	var b bytes.Buffer
	c.Stdout = &b
	err := c.Run()
	return b.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to both outputs.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	err := c.Run()
	return b.Bytes(), err
}

// Signal sends a signal (a syscall.Signal) to the command's process. One that has ended is os.ErrProcessDone.
func (c *Cmd) Signal(s os.Signal) error { return c.signal(s, false) }

// SignalGroup sends a signal to what a terminal's keys would reach: the terminal's foreground process group if the
// command has a terminal, and else the command's own group. SIGKILL goes to all that the command has started.
func (c *Cmd) SignalGroup(s os.Signal) error { return c.signal(s, true) }

func (c *Cmd) signal(s os.Signal, group bool) error {
	number, ok := s.(syscall.Signal)
	switch {
	case !ok:
		return fmt.Errorf("agent: signal %v: not a number", s)
	case c.exec == nil:
		return errors.New("agent: signal: not started")
	}
	r, err := c.client.agent.Signal(context.Background(), &agentpb.SignalRequest{Exec: c.exec, Signal: int32(number), Group: group})
	if err == nil && r.Done || isForgotten(err) {
		return os.ErrProcessDone
	}
	return c.wrap("signal", err)
}

// Resize sets the size of the command's terminal.
func (c *Cmd) Resize(rows, cols uint16) error {
	if c.exec == nil {
		return errors.New("agent: resize: not started")
	}
	size := &agentpb.Terminal{Rows: uint32(rows), Cols: uint32(cols)}
	_, err := c.client.agent.Resize(context.Background(), &agentpb.ResizeRequest{Exec: c.exec, Size: size})
	if isForgotten(err) {
		return os.ErrProcessDone
	}
	return c.wrap("resize", err)
}
