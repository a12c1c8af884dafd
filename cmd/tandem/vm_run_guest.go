package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/card"
	"tandem/guest/agent"
	"tandem/virtio/balloon"
	"tandem/virtio/blk"
	"tandem/vmm"
	"tandem/vmm/console"
	"tandem/vmm/trace"
)

// powerOffLimit is how long a guest that was told to power off may take. Then its plug is pulled.
const powerOffLimit = 20 * time.Second

// guestRun is one run of a recipe on this machine's KVM.
type guestRun struct {
	*recipe
	stdin          io.Reader
	stdout, stderr io.Writer

	vm       *vmm.VM
	cards    []*card.Live
	opened   []*blk.Disk
	balloon  *balloon.Device
	terminal *console.Console // nil if there is no person
	tail     *tailBuffer      // the end of a console that nobody sees
	table    io.Writer        // where the trace's sums go
	timedOut atomic.Bool
	signals  chan os.Signal
}

// guestReport is how a run ended.
type guestReport struct {
	vmm.Outcome
	// Command is the command's status, and nil if the guest ended before it did.
	Command *int `json:"command_status,omitempty"`
	// Problem says why the command could not be run.
	Problem string `json:"problem,omitempty"`
	// Status is what tandem exits with.
	Status int `json:"status"`
}

// run boots the guest and waits for its end. An error means that there was no guest.
func (g *guestRun) run(ctx context.Context) (*guestReport, error) {
	makeRoom(g.sleepers())
	tracer, closeTrace, err := g.openTrace()
	if err != nil {
		return nil, err
	}
	defer closeTrace()
	running, ended := context.WithCancel(ctx)
	defer ended()
	spec := g.spec(tracer, g.openDisk)
	closeConsole, leave, err := g.openConsole(&spec)
	if err != nil {
		return nil, err
	}
	defer closeConsole()
	host, guest, agent := g.agentStream()
	if len(g.Command) > 0 && !g.AgentPort && !g.AgentVsock {
		spec.Serial[1] = vmm.Serial{In: guest, Out: guest}
	}
	defer guest.Close()
	g.plugBalloon(&spec)
	endPorts, err := g.plugPorts(running, &spec, guest)
	if err != nil {
		return nil, err
	}
	defer endPorts()

	unplug, err := g.plugCards(ctx, &spec)
	if err != nil {
		return nil, err
	}
	defer unplug()
	endServers, err := g.plugOthers(ctx, &spec, agent)
	if err != nil {
		return nil, err
	}
	defer endServers()
	if g.vm, err = vmm.New(ctx, spec); err != nil {
		return nil, err
	}
	defer g.vm.Close()
	unregister, err := g.register()
	if err != nil {
		return nil, err
	}
	defer unregister()
	stopSignals := g.catchSignals()
	defer stopSignals()
	if err := g.vm.Start(); err != nil {
		return nil, err
	}
	if g.Timeout > 0 {
		timer := time.AfterFunc(g.Timeout, func() {
			g.timedOut.Store(true)
			g.vm.Stop()
		})
		defer timer.Stop()
	}
	report, err := g.follow(ctx, host, leave)
	if err != nil {
		return nil, err
	}
	if err := g.vm.Close(); err != nil {
		return nil, err
	}
	if err := errors.Join(unplug(), endServers(), endPorts()); err != nil {
		return nil, err
	}
	closeConsole()
	return report, tracer.WriteTable(g.table)
}

// follow is there while the guest runs: it runs the command, or waits for the user to leave.
func (g *guestRun) follow(ctx context.Context, host io.ReadWriteCloser, leave <-chan struct{}) (*guestReport, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	command := make(chan error, 1)
	if len(g.Command) > 0 {
		go func() { command <- g.runCommand(running, host) }()
	} else {
		go g.stopOn(running, leave)
	}
	ended := make(chan vmm.Outcome, 1)
	go func() {
		outcome, _ := g.vm.Wait(ctx) // its error is ctx's, which has no end
		ended <- outcome
	}()
	if len(g.Command) == 0 {
		outcome := <-ended
		return &guestReport{Outcome: outcome, Status: outcome.Ending.ExitStatus()}, nil
	}
	select {
	case err := <-command:
		g.stopAfter(powerOffLimit, running)
		return newGuestReport(<-ended, err), nil
	case outcome := <-ended:
		stop() // the command went with its guest
		host.Close()
		return newGuestReport(outcome, <-command), nil
	}
}

// newGuestReport settles the exit status: the command's, unless it did not come to its end or the guest ended in
// another way than it was asked to.
func newGuestReport(outcome vmm.Outcome, command error) *guestReport {
	r := &guestReport{Outcome: outcome, Status: outcome.Ending.ExitStatus()}
	var exit *agent.ExitError
	switch {
	case command == nil, errors.As(command, &exit):
	case errors.Is(command, exec.ErrNotFound), errors.Is(command, agent.ErrNotExecutable):
		r.Problem = command.Error()
	case outcome.Ending == vmm.PowerOff && !errors.Is(command, agent.ErrClosed) && !errors.Is(command, context.Canceled):
		r.Problem, r.Status = command.Error(), statusFailed
		return r
	default:
		return r
	}
	status := agent.ExitStatus(command)
	r.Command = &status
	if outcome.Ending == vmm.PowerOff || outcome.Ending == vmm.Stopped {
		r.Status = status
	}
	return r
}

// stopAfter pulls the plug of a guest that does not power off in time.
func (g *guestRun) stopAfter(limit time.Duration, running context.Context) {
	timer := time.AfterFunc(limit, g.vm.Stop)
	context.AfterFunc(running, func() { timer.Stop() })
}

// stopOn pulls the plug when the user leaves the console, or for a signal.
func (g *guestRun) stopOn(running context.Context, leave <-chan struct{}) {
	select {
	case <-leave:
	case <-g.signals:
	case <-running.Done():
		return
	}
	g.vm.Stop()
}

// catchSignals has the signals that end a process go to the guest instead.
func (g *guestRun) catchSignals() (stop func()) {
	g.signals = make(chan os.Signal, 8)
	signal.Notify(g.signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	return func() { signal.Stop(g.signals) }
}

// openTrace makes the tracer that the recipe asks for; none is nil.
func (g *guestRun) openTrace() (*trace.Tracer, func(), error) {
	if g.Trace == "" {
		return nil, func() {}, nil
	}
	set, err := trace.ParseSet(g.Trace)
	if err != nil {
		return nil, nil, err
	}
	g.table = g.stderr
	if g.TraceFile == "" {
		return trace.New(g.stderr, set, g.TraceFormat), func() {}, nil
	}
	file, err := os.Create(g.TraceFile)
	if err != nil {
		return nil, nil, flagError("trace-file", g.TraceFile, err)
	}
	g.table = file
	return trace.New(file, set, g.TraceFormat), func() { file.Close() }, nil
}

// openConsole connects the first serial port. Closing gives the terminal back; it may be done twice.
func (g *guestRun) openConsole(spec *vmm.Spec) (closeConsole func(), leave <-chan struct{}, err error) {
	switch g.Console {
	case consoleNone:
		g.tail = new(tailBuffer)
		spec.Serial[0] = vmm.Serial{Out: g.tail}
		return func() {}, nil, nil
	case consoleStdio:
		if len(g.Command) > 0 { // standard input and output are the command's
			spec.Serial[0] = vmm.Serial{Out: g.stderr}
			return func() {}, nil, nil
		}
		return g.openTerminal(spec)
	}
	file, err := os.Create(g.Console)
	if err != nil {
		return nil, nil, flagError("console", g.Console, err)
	}
	spec.Serial[0] = vmm.Serial{Out: file}
	return func() { file.Close() }, nil, nil
}

func (g *guestRun) openTerminal(spec *vmm.Spec) (func(), <-chan struct{}, error) {
	in, haveIn := g.stdin.(*os.File)
	out, haveOut := g.stdout.(*os.File)
	if !haveIn || !haveOut {
		spec.Serial[0] = vmm.Serial{In: g.stdin, Out: g.stdout}
		return func() {}, nil, nil
	}
	c, err := console.Open(in, out)
	if err != nil {
		return nil, nil, err
	}
	g.terminal = c
	spec.Serial[0] = vmm.Serial{In: c.Reader(), Out: c.Writer()}
	return func() { c.Close() }, c.Leave(), nil
}

// print tells of an ending that the user may not expect, on standard error.
func (g *guestRun) print(r *guestReport) error {
	if g.JSON {
		return printJSON(g.stderr, r)
	}
	switch {
	case r.Problem != "":
		fmt.Fprintln(g.stderr, "tandem:", r.Problem)
	case g.timedOut.Load():
		fmt.Fprintf(g.stderr, "tandem: the guest was stopped: --timeout %v is over\n", g.Timeout)
	case r.Ending == vmm.PowerOff, r.Ending == vmm.Stopped:
		return nil
	default:
		fmt.Fprintf(g.stderr, "tandem: the guest ended: %v\n", r.Outcome)
	}
	if text := g.tail.String(); text != "" && r.Problem == "" {
		fmt.Fprintf(g.stderr, "The end of its console:\n%s", text)
	}
	return nil
}
