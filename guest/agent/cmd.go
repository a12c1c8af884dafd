package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Cmd is one command to run in the guest, used as os/exec's: filled in, started once, waited for once.
type Cmd struct {
	// Args is the program and its arguments. A program without a slash is looked up in the PATH of the command's own
	// environment, in the guest.
	Args []string
	// Env is the whole environment, KEY=VALUE. Nil is the guest's default one.
	Env []string
	// AddEnv is laid over Env.
	AddEnv []string
	// Dir is the working directory in the guest. Empty is "/".
	Dir string
	// User is "name", "uid", or either with ":group" after it. Empty is root.
	User string
	// Binds are folders or files of the guest to mount elsewhere, for this command and its children alone: it then
	// runs in a mount namespace of its own.
	Binds []Bind
	// Limits bounds the command and its children with a cgroup of their own.
	Limits Limits

	// Stdin may be nil: the command reads end of file. What has been read from Stdin and not from the command's side
	// when it ends is lost. Wait does not wait for Stdin: a Read that hangs does no harm.
	Stdin io.Reader
	// Stdout and Stderr may be nil: the output is dropped in the guest. If they are the same writer, the command has one
	// pipe for both, so that the order of what it writes is kept, and one goroutine at a time calls Write.
	Stdout, Stderr io.Writer
	// TTY gives the command a terminal of its own, its controlling one: all output comes to Stdout, Stderr must be
	// nil. The end of Stdin becomes the terminal's end-of-file character, ctrl-D.
	TTY bool
	// Rows and Cols are the terminal's first size.
	Rows, Cols uint16
	// WaitDelay is for how long after the command's end its children may still write to its output. What the command
	// itself wrote is never cut. Zero means two seconds, negative not at all.
	WaitDelay time.Duration
}

// Bind is one bind mount.
type Bind struct {
	// Source and Target are absolute paths in the guest. Target is made if it is missing.
	Source, Target string
	ReadOnly       bool
}

// Limits are cgroup v2 limits; zero means none.
type Limits struct {
	Memory uint64 // bytes, memory.max
	Pids   uint64 // tasks, pids.max
}

var errTODO = errors.New("not there yet")

// Start starts the command. Its error tells in the terms of os/exec why the guest could not: errors.Is knows
// exec.ErrNotFound (a shell's status 127) and ErrNotExecutable (126).
func (c *Cmd) Start() error { return errTODO }

// Wait waits for the command to end, and for its output to have been written. A status other than 0 is an *ExitError.
// When the Cmd's context ends first, the command is killed and the error is the context's.
func (c *Cmd) Wait() error { return errTODO }

// Run is Start and Wait.
func (c *Cmd) Run() error { return errTODO }

// Output runs the command and returns what it wrote to Stdout.
func (c *Cmd) Output() ([]byte, error) { return nil, errTODO }

// CombinedOutput runs the command and returns what it wrote to both outputs.
func (c *Cmd) CombinedOutput() ([]byte, error) { return nil, errTODO }

// Signal sends a signal (a syscall.Signal) to the command's process. One that has ended is os.ErrProcessDone.
func (c *Cmd) Signal(s os.Signal) error { return errTODO }

// SignalGroup sends a signal to what a terminal's keys would reach: the terminal's foreground process group if the
// command has a terminal, and else the command's own group.
func (c *Cmd) SignalGroup(s os.Signal) error { return errTODO }

// Resize sets the size of the command's terminal.
func (c *Cmd) Resize(rows, cols uint16) error { return errTODO }

// Command is a Cmd that runs a program of the guest. When ctx ends, the command is killed.
func (c *Client) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...)}
}
