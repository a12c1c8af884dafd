package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/box"
)

// streamPipes are pipes in the place of the user's terminal, for a command without a terminal of its own:
//
//	user's terminal ── stdin ──► tandem ── pipe ──► command      with --interactive
//	       ▲                        │ ◄── pipe ── its stdout, stderr
//	       └────────────────────────┘
//
// A terminal is open for reading and writing by whichever descriptor: with the terminal as its standard output, a command
// that nobody lets read would read what is typed, and could set the terminal as it likes. Files and pipes of the user's are
// the command's own, as nothing is lost by that.
type streamPipes struct {
	theirs  []*os.File
	mine    []*os.File // of its output
	copying sync.WaitGroup
}

// open gives a command its streams. One with a terminal has the three of that.
func (p *streamPipes) open(cmd *cobra.Command, streams *box.Streams, tty, interactive bool) (err error) {
	if tty {
		streams.Stdout, streams.Stderr = asFile(cmd.OutOrStdout()), asFile(cmd.ErrOrStderr())
	} else if streams.Stdout, streams.Stderr, err = p.output(cmd); err != nil {
		return err
	}
	switch {
	case interactive && tty:
		streams.Stdin = asFile(cmd.InOrStdin())
	case interactive:
		streams.Stdin, err = p.input(cmd)
	default:
		if streams.Stdin, err = os.Open(os.DevNull); err == nil {
			p.theirs = append(p.theirs, streams.Stdin)
		}
	}
	return err
}

// output gives the command's standard output and standard error. Where both are one terminal they are one pipe, which keeps
// their order.
func (p *streamPipes) output(cmd *cobra.Command) (stdout, stderr *os.File, err error) {
	out, errs := asFile(cmd.OutOrStdout()), asFile(cmd.ErrOrStderr())
	if stdout, err = p.writer(out); err != nil {
		return nil, nil, err
	}
	if stdout != out && sameStream(out, errs) {
		return stdout, stdout, nil
	}
	stderr, err = p.writer(errs)
	return stdout, stderr, err
}

func (p *streamPipes) writer(to *os.File) (*os.File, error) {
	if !isTerminal(to) {
		return to, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.theirs, p.mine = append(p.theirs, w), append(p.mine, r)
	p.copying.Go(func() {
		_, err := io.Copy(to, r)
		drainOutput(to, r, err)
		r.Close() // who writes when the terminal is gone is told
	})
	return w, nil
}

// outputHeld is as much as a pipe holds, and more than a terminal: what comes beyond was written after the command's end.
const outputHeld = 64 << 10

// drainOutput goes on with a copy that a deadline has ended, until nothing has come for a while. Whoever takes the output may
// be slow: there may be more of it, though it is late.
func drainOutput(to io.Writer, r *os.File, err error) {
	for left := int64(outputHeld); left > 0 && errors.Is(err, os.ErrDeadlineExceeded); {
		_ = r.SetReadDeadline(time.Now().Add(terminalDrain))
		var n int64
		if n, err = io.CopyN(to, r, left); n == 0 {
			return
		}
		left -= n
	}
}

// input gives the command's standard input.
func (p *streamPipes) input(cmd *cobra.Command) (*os.File, error) {
	from := asFile(cmd.InOrStdin())
	if !isTerminal(from) {
		return from, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.theirs = append(p.theirs, r)
	go func() { // ends with this process
		_, _ = io.Copy(w, from)
		w.Close()
	}()
	return r, nil
}

// started closes what is the command's.
func (p *streamPipes) started() {
	for _, f := range p.theirs {
		f.Close()
	}
	p.theirs = nil
}

// close waits for the last of the output. What a command has left running may keep a pipe open, and is not waited for.
func (p *streamPipes) close() {
	p.started()
	for _, f := range p.mine {
		_ = f.SetReadDeadline(time.Now().Add(terminalDrain)) // it may have come to its end
	}
	p.copying.Wait()
}
