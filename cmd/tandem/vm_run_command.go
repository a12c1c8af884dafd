package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"tandem/guest/agent"
)

// newByteStream makes the wire between the guest's second serial port and the agent's client.
func newByteStream() (host, guest io.ReadWriteCloser) { return net.Pipe() }

// runCommand waits for the guest's agent, runs the command with tandem's own streams, and has the guest power off.
func (g *guestRun) runCommand(ctx context.Context, line io.ReadWriteCloser) error {
	booting, booted := context.WithCancel(ctx)
	go g.stopOn(booting, nil)
	client, err := agent.NewClient(ctx, line)
	booted()
	if err != nil {
		return err
	}
	defer client.Close()

	c := client.Command(ctx, g.Command[0], g.Command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = g.stdin, g.stdout, g.stderr
	restore, err := g.openCommandTerminal(c)
	if err != nil {
		return err
	}
	commandErr := g.startAndWait(ctx, c)
	restore()

	limited, cancel := context.WithTimeout(ctx, powerOffLimit)
	defer cancel()
	// A guest that ends of its own accord takes the command with it. Then its end is what there is to tell.
	if errors.Is(commandErr, agent.ErrEnding) {
		return fmt.Errorf("%w: the guest ended", agent.ErrClosed)
	}
	_ = client.Sync(limited)     // these two fail if the guest ends first, and then
	_ = client.PowerOff(limited) // there is no more to be done
	return commandErr
}

// startAndWait passes on signals and sizes while the command runs.
func (g *guestRun) startAndWait(ctx context.Context, c *agent.Cmd) error {
	if err := c.Start(); err != nil {
		return err
	}
	running, ended := context.WithCancel(ctx)
	defer ended()
	go g.forwardSignals(running, c)
	if c.TTY {
		go followSize(g.stdin, c, running.Done())
	}
	return c.Wait()
}

// patience is how many signals the command gets before its guest is stopped: a command may ignore them.
const patience = 3

func (g *guestRun) forwardSignals(running context.Context, c *agent.Cmd) {
	for n := 1; ; n++ {
		select {
		case <-running.Done():
			return
		case s := <-g.signals:
			if n >= patience || c.SignalGroup(s) != nil {
				g.vm.Stop()
			}
		}
	}
}

// openCommandTerminal makes the command's terminal an image of this process's, which passes each key on as it is.
func (g *guestRun) openCommandTerminal(c *agent.Cmd) (restore func(), err error) {
	if !g.TTY {
		return func() {}, nil
	}
	c.TTY, c.Stderr = true, nil
	c.Rows, c.Cols = terminalSize(g.stdin)
	return rawTerminal(g.stdin)
}
