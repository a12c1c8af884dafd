package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/internal/process"
)

// KeeperVerb is the hidden verb of tandem's that keeps a detached box: `tandem keep-box ID`, with a pipe as descriptor 3.
const (
	KeeperVerb = "keep-box"
	HoldFlag   = "hold"
	SizeFlag   = "size"
)

// Handover is how a box goes over to a keeper of its own.
type Handover struct {
	Hold bool                             // what the box writes is held back for the first to attach to it
	Size [2]uint16                        // rows and columns of his terminal; 0 is unknown
	Warn func(format string, args ...any) // of what the keeper warns of while it starts the box; may be nil
}

// StartError is what kept a detached box from starting, as its keeper told it.
type StartError struct {
	Status int    `json:"status"` // tandem's exit status for it
	Text   string `json:"text"`   // empty is success
}

func (e *StartError) Error() string { return e.Text }

// started is what a keeper tells when it has started its box, or could not.
type started struct {
	StartError
	Warnings []string `json:"warnings,omitempty"`
}

const readyFD = 3

// Detach hands the box over to a keeper of its own, and returns when the box runs. If it does not come to, nothing of it
// is left, and the error is the keeper's, a *StartError.
func (r *Record) Detach(ctx context.Context, how Handover) error {
	r.handover = how
	err := r.detach(ctx)
	if err != nil {
		return errors.Join(err, r.Discard())
	}
	return nil
}

func (r *Record) detach(ctx context.Context) error {
	// The keeper's own words, if it should have any: a panic, say.
	if err := os.MkdirAll(r.data(""), 0o700); err != nil {
		return err
	}
	words, err := os.OpenFile(r.data("keeper.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer words.Close()
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	defer theirs.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, KeeperVerb, r.ID)
	if r.handover.Hold {
		cmd.Args = append(cmd.Args, "--"+HoldFlag)
	}
	if size := r.handover.Size; size[0] != 0 {
		cmd.Args = append(cmd.Args, fmt.Sprintf("--%s=%d,%d", SizeFlag, size[0], size[1]))
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), RunVariable+"="+r.home.Run, "TANDEM_ROOT="+r.home.Data)
	cmd.Stdout, cmd.Stderr = words, words
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("box: start its keeper: %w", err)
	}
	theirs.Close()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	text, err := io.ReadAll(ready)
	stop()
	if err != nil || len(text) == 0 {
		waitErr := cmd.Wait()
		return fmt.Errorf("box: its keeper ended: %w%s", errors.Join(waitErr, context.Cause(ctx), err), lastWords(words.Name()))
	}
	var told started
	if err := json.Unmarshal(text, &told); err != nil {
		return fmt.Errorf("box: its keeper said %q: %w", text, err)
	}
	for _, w := range told.Warnings {
		if r.handover.Warn != nil {
			r.handover.Warn("%s", w)
		}
	}
	if told.Text != "" {
		_ = cmd.Wait() // its words are told
		return &told.StartError
	}
	return cmd.Process.Release()
}

func lastWords(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(text))
}

// KeepDetached is the keeper's whole life: it takes the box over, starts it, tells so, logs what it writes, and puts down
// its end. tell says what tandem would say, and end with, for an error.
func (h *Home) KeepDetached(id string, how Handover, tell func(error) StartError) error {
	ready := os.NewFile(readyFD, "ready")
	if ready == nil {
		return errors.New("box: nobody waits for this keeper")
	}
	unix.CloseOnExec(readyFD)
	r, err := h.load(id)
	if err != nil {
		return err
	}
	var told started
	how.Warn = func(format string, args ...any) { told.Warnings = append(told.Warnings, fmt.Sprintf(format, args...)) }
	r.handover = how
	k, err := r.takeOver()
	r.handover = Handover{Hold: how.Hold} // the next start is nobody's to hear of, and of no size that is known
	if err != nil {
		told.StartError = tell(err)
	}
	text, encodeErr := json.Marshal(told)
	_, _ = ready.Write(text) // who started it may have been killed: it is kept all the same
	if err := errors.Join(err, encodeErr); err != nil {
		return err
	}
	ready.Close()
	return errors.Join(k.keep(context.Background(), r), k.log.Close())
}

// kept is a detached box that runs.
type kept struct {
	process *container.Process
	log     *Log
	readers []func() // each ends when its stream has
	closers []io.Closer
	hub     *hub // of those who are attached
	asked   *asked
}

// keep waits for the box's end, and starts it anew as its policy says.
func (k *kept) keep(ctx context.Context, r *Record) error {
	defer k.hub.close()
	defer k.asked.stop()
	pause := time.Duration(0)
	for {
		k.asked.pass(k.process)
		exit, err := r.await(ctx, k.process)
		k.asked.pass(nil)
		k.process.Release()
		if err != nil && exit.Finished.IsZero() {
			return err
		}
		if err := r.refresh(); err != nil { // the policy may have been changed
			return err
		}
		again := r.Options.Restart.again(exit.Status, r.Restarts) && !r.staysEnded() && !k.asked.toEnd()
		if err != nil || !again {
			k.closeStreams()
			k.hub.awaitFirst() // while there is a socket to come by
			err = errors.Join(err, r.settle(exit))
			k.hub.ended(exit)
			return err
		}
		k.closeStreams()
		k.hub.ended(exit)
		r.LastExit, r.PID = &exit, 0
		if err := r.save(); err != nil {
			return err
		}
		pause = nextPause(pause, exit.Finished.Sub(r.Started))
		if !k.asked.pause(pause) || r.staysEnded() {
			return r.settle(exit)
		}
		r.Restarts++
		if err := k.start(r); err != nil {
			exit.Error = err.Error()
			return errors.Join(err, r.settle(exit))
		}
	}
}

// takeOver starts the box with this process as its keeper.
func (r *Record) takeOver() (k *kept, err error) {
	if r.Keeper, err = process.Self(); err != nil {
		return nil, err
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	k = &kept{asked: listen()}
	if k.log, err = OpenLog(r.data(logFile)); err != nil {
		return nil, err
	}
	if k.hub, err = newHub(r); err != nil {
		return nil, errors.Join(err, k.log.Close())
	}
	if err := k.start(r); err != nil {
		k.hub.close()
		return nil, errors.Join(err, k.log.Close())
	}
	return k, nil
}

// start starts the box, and what reads its streams.
func (k *kept) start(r *Record) error {
	streams, theirs, err := k.streams(r)
	if err == nil {
		k.process, err = r.Start(context.Background(), streams)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		k.closeAll()
		return err
	}
	for _, read := range k.readers {
		k.log.readers.Go(read)
	}
	return nil
}

// streams are the box's ends, and the keeper's readers of the others.
func (k *kept) streams(r *Record) (t Streams, theirs []*os.File, err error) {
	t.ConsoleSize = r.handover.Size
	t.Warn = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "warning: "+format+"\n", args...)
		if r.handover.Warn != nil {
			r.handover.Warn(format, args...)
		}
	}
	if r.Options.TTY {
		t.Console = func(master *os.File) error {
			defer master.Close()
			mine, err := pollable(master)
			if err != nil {
				return err
			}
			k.closers = append(k.closers, mine)
			k.readers = append(k.readers, func() { k.log.Copy("stdout", io.TeeReader(mine, k.hub.output("stdout"))) })
			k.hub.input(mine)
			return nil
		}
		return t, nil, nil
	}
	if r.Options.Interactive { // who is attached writes to it, and it does not end
		in, out, err := os.Pipe()
		if err != nil {
			return t, theirs, err
		}
		t.Stdin, theirs, k.closers = in, append(theirs, in), append(k.closers, out)
		k.hub.input(out)
	} else {
		if t.Stdin, err = os.Open(os.DevNull); err != nil {
			return t, theirs, err
		}
		theirs = append(theirs, t.Stdin)
	}
	for name, to := range map[string]**os.File{"stdout": &t.Stdout, "stderr": &t.Stderr} {
		in, out, err := os.Pipe()
		if err != nil {
			return t, theirs, err
		}
		*to, theirs, k.closers = out, append(theirs, out), append(k.closers, in)
		k.readers = append(k.readers, func() { k.log.Copy(name, io.TeeReader(in, k.hub.output(name))) })
	}
	return t, theirs, nil
}

// pollable is the file by a descriptor that blocks no thread, so that closing it ends who reads or writes it.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// closeStreams waits for the last of the output.
func (k *kept) closeStreams() {
	k.log.readers.Wait()
	k.closeAll()
}

func (k *kept) closeAll() {
	k.hub.input(nil)
	for _, c := range k.closers {
		c.Close()
	}
	k.closers, k.readers = nil, nil
}
