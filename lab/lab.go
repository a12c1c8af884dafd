package lab

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotRunning says that no lab is up in the state folder that was asked about.
var ErrNotRunning = errors.New("not running")

// ErrNoQEMU says that this host has no QEMU that can be the lab's machine.
// Its text names the package to install.
var ErrNoQEMU = errors.New("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")

// Options says what lab is wanted. The zero value is the lab that the tandem
// command uses: one for each user, with this host's size in mind.
//
// Options count only when a lab starts: one that is already up is used as it is.
type Options struct {
	// Dir is the state folder, which names the lab: two labs with different
	// folders know nothing of one another. Empty means DefaultDir.
	Dir string
	// Program is the static tandem executable that becomes both the
	// supervisor and the lab's /init. Empty means this process's own.
	Program string
	// Kernel is the version of a kernel in the kernel store. Empty means the
	// distribution's own, pulled if the store does not have it.
	Kernel string
	// CPUs is the number of vCPUs. Zero means as many as the host has, and at least 2.
	CPUs int
	// Memory is the lab's memory in bytes. Zero means a size that the host can spare.
	Memory uint64
	// Accel is how QEMU runs the lab's instructions. Empty means Auto.
	Accel Accel
	// Idle is how long the lab stays up with nobody using it.
	// Zero means five minutes, negative means for ever.
	Idle time.Duration
	// Progress gets one line of text for each step while the lab starts. Nil means none.
	Progress func(step string)
}

// Accel is the way in which QEMU executes the lab's instructions.
type Accel string

// The accelerators. Auto takes KVM where it can nest and TCG elsewhere.
const (
	Auto Accel = "auto"
	KVM  Accel = "kvm"
	TCG  Accel = "tcg"
)

// State is what a lab is at one moment.
type State struct {
	Phase      Phase         `json:"phase"`
	Step       string        `json:"step,omitempty"`
	Error      string        `json:"error,omitempty"`
	PID        int           `json:"pid"`
	QEMU       int           `json:"qemu_pid,omitempty"`
	Accel      Accel         `json:"accel"`
	CPUs       int           `json:"cpus"`
	Memory     uint64        `json:"memory"`
	Kernel     string        `json:"kernel,omitempty"`
	Dir        string        `json:"dir"`
	ConsoleLog string        `json:"console_log"`
	Started    time.Time     `json:"started"`
	BootTime   time.Duration `json:"boot_ns"`
	Idle       time.Duration `json:"idle_ns"`
	Sessions   int           `json:"sessions"`
}

// Phase is a lab's place in its life.
type Phase string

// A lab's life goes through these phases in this order.
const (
	Starting Phase = "starting"
	Ready    Phase = "ready"
	Stopping Phase = "stopping"
)

// Up makes sure that a lab is up and returns its state. Callers that come at
// the same time, from whatever process, share one lab.
func Up(ctx context.Context, o Options) (State, error) { return State{}, errors.ErrUnsupported }

// Down ends the lab and returns when nothing of it is left. It returns
// ErrNotRunning if there was none.
func Down(ctx context.Context, o Options) error { return errors.ErrUnsupported }

// Status returns the state of the lab that is up, or ErrNotRunning.
func Status(ctx context.Context, o Options) (State, error) { return State{}, errors.ErrUnsupported }

// Command is a program to run in the lab. Its fields mean what they mean in os/exec.
type Command struct {
	// Args is the program and its arguments. A program without a slash is
	// looked up in the PATH of Env.
	Args []string
	// Env is the whole environment of the command.
	Env []string
	// Dir is the working directory, an absolute path of the host. Empty means this process's own.
	Dir string
	// Shares are files and folders of the host that the command may write
	// to. Everything else that it writes stays in the lab.
	Shares []string
	// Stdin may be nil: the command then reads end of file.
	Stdin io.Reader
	// Stdout and Stderr may be nil: the output is then dropped.
	Stdout, Stderr io.Writer
	// TTY gives the command a terminal of its own for its three streams;
	// what it writes comes to Stdout.
	TTY bool
	// Rows and Cols are the terminal's first size.
	Rows, Cols uint16
	// Signals and Resize, if not nil, are what reaches the command while it
	// runs: signals by number, and new sizes of its terminal.
	Signals <-chan int
	Resize  <-chan [2]uint16
}

// Exec runs a command in the lab and waits for it; a lab is started if none is
// up. The exit status is the command's own, or 128 plus the signal that ended it.
// An error means that the command did not run to its end. When ctx ends, the
// command is killed.
func Exec(ctx context.Context, o Options, c Command) (int, error) {
	return 0, errors.ErrUnsupported
}
