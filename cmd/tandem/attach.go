package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tandem/cmd/tandem/internal/box"
)

// attachFlags are what tandem attach and tandem start share.
type attachFlags struct {
	interactive bool
	proxy       bool // signals are the container's
	patience    int  // how many that ask it to end it gets before it is killed; 0 is any number
	keys        keysFlag
}

func (f *attachFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.proxy, "sig-proxy", true, "pass signals on to the container")
	f.keys.register(flags, "")
}

func newAttachCommand() *cobra.Command {
	var f attachFlags
	noStdin := false
	cmd := &cobra.Command{
		Use:   "attach [flags] CONTAINER",
		Short: "Be at the terminal of a container that is detached, or was left",
		Long: "Shows what a container writes, from now on, and sends it what is typed, if it was made with --interactive. It is one\n" +
			"that was started with --detach, or with -t in the foreground. It ends as the container does, with its status. The keys\n" +
			"Ctrl-P Ctrl-Q leave it running, where it has a terminal (--tty). Several may be attached at the same time.",
		Example: "  tandem run -dit --name shell alpine && tandem attach shell\n  tandem attach --no-stdin web",
		Args:    exactly("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			f.interactive, f.proxy = !noStdin, f.proxy && !r.Options.TTY
			return attachBox(cmd, r, f, catchAll())
		},
	}
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "send it nothing")
	f.register(cmd.Flags())
	return cmd
}

// errDetach ends a copy of what is typed: the keys were.
var errDetach = errors.New("the keys to leave were typed")

// attachHandover has a container wait for this process to attach.
func attachHandover(cmd *cobra.Command) box.Handover {
	how := box.Handover{Hold: true, Warn: warnTo(cmd)}
	how.Size[0], how.Size[1] = terminalSize(cmd.InOrStdin())
	return how
}

// catchAll takes all signals from now on, for attachBox.
func catchAll() chan os.Signal {
	received := make(chan os.Signal, 64)
	signal.Notify(received)
	return received
}

// attachBox is this process's end of a container's streams, until that ends or is left.
func attachBox(cmd *cobra.Command, r *box.Record, f attachFlags, received chan os.Signal) error {
	a, err := r.Attach(context.WithoutCancel(cmd.Context()))
	if err != nil {
		return err
	}
	defer a.Close()
	session := &attached{cmd: cmd, box: r, conn: a, left: make(chan struct{}), quit: make(chan struct{})}
	stop := session.signals(received, f)
	defer stop()
	session.resize() // before anything that is typed
	if f.interactive && r.Options.Interactive {
		restore, err := session.input(f.keys.codes)
		if err != nil {
			return err
		}
		defer restore()
	}
	exit, err := a.Follow(cmd.OutOrStdout(), cmd.ErrOrStderr())
	select {
	case <-session.left:
		r.Detached()
		return nil
	case <-session.quit:
		r.Detached()
		return exitStatus(statusInterrupted)
	default:
	}
	switch {
	case err == nil:
		return boxEnded(cmd, r, exit)
	case errors.Is(err, box.ErrLeft):
		return err
	}
	r.Detached()
	return fmt.Errorf("container %s goes on, and its output is not shown: %w", r.Name, err)
}

// attached is one connection.
type attached struct {
	cmd  *cobra.Command
	box  *box.Record
	conn *box.Attachment
	left chan struct{} // closed when it is left by the keys
	quit chan struct{} // closed when it is left by a signal
}

func (s *attached) resize() {
	if rows, cols := terminalSize(s.cmd.InOrStdin()); rows != 0 && s.box.Options.TTY {
		_ = s.conn.Resize(rows, cols) // it may be over: Follow tells
	}
}

// signals follows the terminal's size, and passes the others on to the container's first process, or ends the connection.
func (s *attached) signals(received chan os.Signal, f attachFlags) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked := 0
		for sig := range received {
			switch sig := sig.(syscall.Signal); sig {
			case unix.SIGWINCH:
				s.resize()
			case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP, unix.SIGCONT:
			default:
				if asksToEnd(sig) {
					if asked++; f.patience > 0 && asked >= f.patience {
						sig = unix.SIGKILL
					}
				}
				if f.proxy && !s.hungUp(sig) {
					_ = s.box.Signal(context.WithoutCancel(s.cmd.Context()), sig) // it may have ended: Follow tells
					continue
				}
				select {
				case <-s.quit:
				default:
					close(s.quit)
					s.conn.Close()
				}
			}
		}
	}()
	return func() {
		signal.Stop(received)
		close(received)
		<-done
	}
}

// hungUp tells whether a signal says that the terminal is gone: a window was closed, a line broke. Who was at it has left
// the container then, which goes on.
func (s *attached) hungUp(sig syscall.Signal) bool {
	return sig == unix.SIGHUP && s.box.Options.TTY && !isTerminal(s.cmd.InOrStdin())
}

// input sends what is typed. A terminal is made raw for a container that has one.
func (s *attached) input(keys []byte) (restore func(), err error) {
	restore = func() {}
	in := s.cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && s.box.Options.TTY && isTerminal(in) {
		state, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return nil, err
		}
		restore = func() { _ = term.Restore(int(f.Fd()), state) }
		in = &keyReader{r: in, keys: keys}
	}
	go func() { // ends with this process
		switch _, err := io.Copy(s.conn, in); {
		case errors.Is(err, errDetach):
			close(s.left)
			s.conn.Close()
		case err == nil:
			_ = s.conn.CloseInput() // it may be over: Follow tells
		}
	}()
	return restore, nil
}
