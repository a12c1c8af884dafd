package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/internal/process"
)

// KeeperVerb is the hidden verb of tandem's that keeps a detached box: `tandem keep-box ID`, with a pipe as descriptor 3.
const KeeperVerb = "keep-box"

// StartError is what kept a detached box from starting, as its keeper told it.
type StartError struct {
	Status int    `json:"status"` // tandem's exit status for it
	Text   string `json:"text"`   // empty is success
}

func (e *StartError) Error() string { return e.Text }

const readyFD = 3

// Detach hands the box over to a keeper of its own, and returns when the box runs. If it does not come to, nothing of it
// is left, and the error is the keeper's, a *StartError.
func (r *Record) Detach(ctx context.Context) error {
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
	var told StartError
	if err := json.Unmarshal(text, &told); err != nil {
		return fmt.Errorf("box: its keeper said %q: %w", text, err)
	}
	if told.Text != "" {
		_ = cmd.Wait() // its words are told
		return &told
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
func (h *Home) KeepDetached(id string, tell func(error) StartError) error {
	ready := os.NewFile(readyFD, "ready")
	if ready == nil {
		return errors.New("box: nobody waits for this keeper")
	}
	unix.CloseOnExec(readyFD)
	r, err := h.load(id)
	if err != nil {
		return err
	}
	k, err := r.takeOver()
	if err != nil {
		text, encodeErr := json.Marshal(tell(err))
		_, writeErr := ready.Write(text)
		return errors.Join(err, encodeErr, writeErr)
	}
	if _, err := ready.WriteString("{}"); err != nil {
		return err
	}
	ready.Close()
	stop := passSignals(k.process)
	_, err = r.Keep(context.Background(), k.process)
	stop()
	return errors.Join(err, k.close())
}

// passSignals has a box asked to end when its keeper is: at the machine's end, say.
func passSignals(p *container.Process) (stop func()) {
	received := make(chan os.Signal, 8)
	signal.Notify(received, unix.SIGTERM)
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range received {
			_ = p.Signal(unix.SIGTERM) // it may have ended: Wait tells
		}
	}()
	return func() {
		signal.Stop(received)
		close(received)
		<-done
	}
}

// kept is a detached box that runs.
type kept struct {
	process *container.Process
	log     *Log
	readers []func() // each ends when its stream has
	closers []io.Closer
}

// takeOver starts the box with this process as its keeper.
func (r *Record) takeOver() (k *kept, err error) {
	if r.Keeper, err = process.Self(); err != nil {
		return nil, err
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	k = &kept{}
	if k.log, err = OpenLog(r.data(logFile)); err != nil {
		return nil, err
	}
	streams, theirs, err := k.streams(r)
	if err == nil {
		k.process, err = r.Start(context.Background(), streams)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		return nil, errors.Join(err, k.closeAll())
	}
	for _, read := range k.readers {
		k.log.readers.Go(read)
	}
	return k, nil
}

// streams are the box's ends, and the keeper's readers of the others.
func (k *kept) streams(r *Record) (t Streams, theirs []*os.File, err error) {
	t.Warn = func(format string, args ...any) { fmt.Fprintf(os.Stderr, "warning: "+format+"\n", args...) }
	if r.Options.TTY {
		t.Console = func(master *os.File) error {
			k.closers = append(k.closers, master)
			k.readers = append(k.readers, func() { k.log.Copy("stdout", master) })
			return nil
		}
		return t, nil, nil
	}
	if r.Options.Interactive { // nobody writes to it, and it does not end
		in, out, err := os.Pipe()
		if err != nil {
			return t, theirs, err
		}
		t.Stdin, theirs, k.closers = in, append(theirs, in), append(k.closers, out)
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
		k.readers = append(k.readers, func() { k.log.Copy(name, in) })
	}
	return t, theirs, nil
}

// close waits for the last of the output.
func (k *kept) close() error {
	k.log.readers.Wait()
	return k.closeAll()
}

func (k *kept) closeAll() error {
	for _, c := range k.closers {
		c.Close()
	}
	return k.log.Close()
}
