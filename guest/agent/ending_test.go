package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// ends are the requests that end a machine.
var ends = map[string]func(*Client, context.Context) error{
	"power off": (*Client).PowerOff,
	"reboot":    (*Client).Reboot,
}

// A host that asks a machine to end wants to know whether it was ending already, as then the machine may have killed the
// host's commands by itself. No other failure may look like that: the command's own signal would be put down to it.
func TestEndingMachine(t *testing.T) {
	for _, test := range []struct {
		name    string
		end     error // what the machine answers
		ending  bool  // the host is told ErrEnding
		success bool
	}{
		{"begins to end", nil, false, true},
		{"was ending", ErrEnding, true, false},
		{"was ending, in other words", fmt.Errorf("init: %w", ErrEnding), true, false},
		{"cannot", errors.New("no power switch"), false, false},
		{"fails in the same words", errors.New(ErrEnding.Error()), false, false},
		{"lacks a privilege", syscall.EPERM, false, false},
	} {
		for name, end := range ends {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				c := connectOver(t, &Server{End: func(Action) error { return test.end }}, socketLink)
				err := end(c, t.Context())
				if errors.Is(err, ErrEnding) != test.ending || (err == nil) != test.success {
					t.Errorf("%s = %v, want ErrEnding %v, success %v", name, err, test.ending, test.success)
				}
			})
		}
	}
}

// An agent without a machine of its own has nothing to end, and a host that stopped waiting was told nothing.
func TestEndingUnknown(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			if err := end(connect(t), t.Context()); err == nil || errors.Is(err, ErrEnding) {
				t.Errorf("%s of an agent that is no machine's = %v, want another error than ErrEnding", name, err)
			}
			release := make(chan struct{})
			c := connectOver(t, &Server{End: func(Action) error { <-release; return ErrEnding }}, socketLink)
			t.Cleanup(func() { close(release) })
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := end(c, ctx); err == nil || errors.Is(err, ErrEnding) {
				t.Errorf("%s that nobody answered = %v, want another error than ErrEnding", name, err)
			}
		})
	}
}

// A machine may be gone before its answer is on the wire. That is a success, and no ErrEnding.
func TestEndingFasterThanItsAnswer(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			var guest io.ReadWriteCloser
			l := func(t *testing.T) (io.ReadWriteCloser, io.ReadWriteCloser) {
				h, g := socketLink(t)
				guest = g
				return h, g
			}
			gone := make(chan struct{})
			c := connectOver(t, &Server{End: func(Action) error { guest.Close(); <-gone; return nil }}, l)
			t.Cleanup(func() { close(gone) })
			if err := end(c, t.Context()); err != nil {
				t.Errorf("%s = %v, want nil", name, err)
			}
		})
	}
}

// The status of a command that a signal ended stays what it is, whatever the machine then says to being ended.
func TestKilledThenEnded(t *testing.T) {
	for name, answer := range map[string]error{"ends": nil, "fails": errors.New("no power switch"), "was ending": ErrEnding} {
		t.Run(name, func(t *testing.T) {
			c := connectOver(t, &Server{End: func(Action) error { return answer }}, socketLink)
			err := c.Command(t.Context(), "sh", "-c", "kill -9 $$").Run()
			if got := ExitStatus(err); got != statusSignal+int(syscall.SIGKILL) {
				t.Fatalf("status %d (%v), want 137", got, err)
			}
			if end := c.PowerOff(t.Context()); errors.Is(end, ErrEnding) != errors.Is(answer, ErrEnding) {
				t.Errorf("PowerOff = %v, the machine answered %v", end, answer)
			}
		})
	}
}

// A signal that ends a command while the machine goes down is the machine's doing, and no status of the command's.
func TestEndingMachineEndsCommands(t *testing.T) {
	var ending atomic.Bool
	c := connectOver(t, &Server{Ending: ending.Load}, socketLink)
	run := func(script string) error { return c.Command(t.Context(), "sh", "-c", script).Run() }
	if got := ExitStatus(run("kill -TERM $$")); got != 128+15 {
		t.Errorf("killed in a machine that runs: status %d, want %d", got, 128+15)
	}
	ending.Store(true)
	if err := run("kill -TERM $$"); !errors.Is(err, ErrEnding) {
		t.Errorf("killed in a machine that ends: %v, want ErrEnding", err)
	}
	if got := ExitStatus(run("exit 7")); got != 7 {
		t.Errorf("ended by itself in a machine that ends: status %d, want 7", got)
	}
}
