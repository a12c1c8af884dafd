package agent

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
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

	// Stdin may be nil: the command reads end of file. What has been read from Stdin and not by the command when it ends
	// is lost. Wait does not wait for Stdin: a Read that hangs does no harm.
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

	// Pid is the process's number in the guest, after Start.
	Pid int
	// UserTime, SystemTime and MaxRSS (in bytes) are the process's, after Wait.
	UserTime, SystemTime time.Duration
	MaxRSS               int64

	client  *Client
	ctx     context.Context
	exec    []byte          // the command's name in requests, after Start
	streams []*yamux.Stream // of its output
	copying sync.WaitGroup  // to Stdout and Stderr
	ended   chan error      // gets wait's error
	waited  bool

	mu        sync.Mutex
	copyError error // the first from Stdout or Stderr
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
