package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNotRunning says that no lab is up in the state folder that was asked about.
	ErrNotRunning = errors.New("not running")
	// ErrNoQEMU says that this host has no QEMU that could be the lab's machine.
	ErrNoQEMU = errors.New("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
	// ErrInLab says that this process runs in a lab already.
	ErrInLab = errors.New("this is the lab: it has KVM, and no lab of its own")
	// ErrVersion says that the lab that is up was started by another version of tandem.
	ErrVersion = errors.New("the lab that is up speaks another version, end it with: tandem lab down")
	// ErrDied says that a lab went down that was in use. The error that wraps it has the end of the lab's console.
	ErrDied = errors.New("the lab went down")
)

// Variable is set in the environment of everything that runs in the lab.
const Variable = "TANDEM_LAB"

// Options says what lab is wanted. The zero value is the lab that the tandem command uses: one for each user, of a
// size that suits this host.
//
// Apart from Dir and Progress, options count only when a lab starts: one that is up is used as it is.
type Options struct {
	// Dir is the state folder, which names the lab: labs with different folders know nothing of one another.
	// Empty means DefaultDir. Nothing else may be kept in it.
	Dir string `json:"dir"`
	// Program is the static tandem executable that becomes both the supervisor and the lab's /init. Empty means
	// this process's own, which has to be tandem.
	Program string `json:"-"`
	// Kernel is a kernel's name in the kernel store. Empty means the distribution's own, pulled if the store has none.
	Kernel string `json:"kernel,omitempty"`
	// CPUs is the number of vCPUs. Zero means as many as the host has, at most 8; and one
	// with TCG, which runs them all on one thread.
	CPUs int `json:"cpus,omitempty"`
	// Memory is the lab's memory in bytes. Zero means what the host can spare, at most 4 GiB.
	Memory uint64 `json:"memory,omitempty"`
	// Accel is how QEMU executes the lab's instructions. Empty means Auto.
	Accel Accel `json:"accel,omitempty"`
	// Append is added to the kernel's command line, such as "security=selinux" for a security module other than the
	// kernel's choice.
	Append string `json:"append,omitempty"`
	// Idle is how long the lab stays up with nobody using it. Zero means DefaultIdle, negative means for ever.
	Idle time.Duration `json:"idle,omitempty"`
	// Progress is told each step of a lab that starts, from one goroutine. Nil means that nobody is.
	Progress func(step string) `json:"-"`
}

// DefaultIdle is how long a lab stays up with nobody using it.
const DefaultIdle = 5 * time.Minute

// Phase is a lab's place in its life.
type Phase string

// The phases, in this order.
const (
	Starting Phase = "starting"
	Ready    Phase = "ready"
	Stopping Phase = "stopping"
)

// State is what a lab is at one moment.
type State struct {
	Phase Phase `json:"phase"`
	// Step is what a lab that starts is about to do.
	Step string `json:"step,omitempty"`
	// Error is why a lab goes down that nobody told to.
	Error string `json:"error,omitempty"`

	Supervisor int    `json:"supervisor_pid"`
	QEMU       int    `json:"qemu_pid,omitempty"`
	Accel      Accel  `json:"accel,omitempty"`
	CPUs       int    `json:"cpus,omitempty"`
	Memory     uint64 `json:"memory,omitempty"` // bytes
	Kernel     string `json:"kernel,omitempty"` // uname -r

	Dir     string        `json:"dir"`
	Console string        `json:"console"` // the file that the kernel's messages go to
	Started time.Time     `json:"started"`
	Boot    time.Duration `json:"boot_ns,omitempty"` // from QEMU's start to the agent's first answer
	Idle    time.Duration `json:"idle_ns"`           // as in Options, with the default put in
	// Sessions is the number of clients that use the lab now.
	Sessions int `json:"sessions"`
}

// Up makes sure that a lab is up and returns its state. Callers that come at the same time, from whatever processes,
// share one lab.
func Up(ctx context.Context, o Options) (State, error) {
	conn, state, err := connect(ctx, o, wantState)
	if err != nil {
		return State{}, fmt.Errorf("lab: up: %w", err)
	}
	conn.Close()
	return state, nil
}

// Down ends the lab, whoever uses it, and returns when nothing of it is left. It returns ErrNotRunning if there was
// none.
func Down(ctx context.Context, o Options) error {
	dir, err := openDir(o.Dir)
	if err != nil {
		return fmt.Errorf("lab: down: %w", err)
	}
	if err := dir.down(ctx); err != nil {
		return fmt.Errorf("lab: down: %w", err)
	}
	return nil
}

// Status returns the state of the lab that is up, in whatever phase it is, or ErrNotRunning.
func Status(ctx context.Context, o Options) (State, error) {
	dir, err := openDir(o.Dir)
	if err != nil {
		return State{}, fmt.Errorf("lab: status: %w", err)
	}
	conn, state, err := dir.dial(ctx, wantState)
	if errors.Is(err, errGone) {
		err = ErrNotRunning // it ended before it could answer
	}
	if err != nil {
		return State{}, fmt.Errorf("lab: status: %w", err)
	}
	conn.Close()
	return state, nil
}
