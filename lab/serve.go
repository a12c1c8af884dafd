package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// lineLimit is how long a client may take for a line. Clients are on this host, and mean to speak.
const lineLimit = 10 * time.Second

// accept serves clients until the listener closes.
func (s *supervisor) accept(ctx context.Context) {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.stop(fmt.Errorf("accept clients: %w", err))
			return
		}
		s.handlers.Go(func() { s.handle(ctx, newLineConn(c)) })
	}
}

// handle serves one client.
func (s *supervisor) handle(ctx context.Context, c *lineConn) {
	defer c.Close()
	var r request
	if err := s.readRequest(c, &r); err != nil {
		return
	}
	if r.Version != protocolVersion {
		_ = s.reply(c, State{}, ErrVersion.Error())
		return
	}
	switch r.Want {
	case wantState:
		s.watch(c)
	case wantAgent:
		s.enter()
		defer s.leave()
		if s.awaitReady(c) {
			s.proxy(ctx, c)
		}
	case wantStop:
		state, _ := s.now()
		_ = s.reply(c, state, "")
		s.stop(errToldTo)
		<-s.fate.Done()
	default:
		_ = s.reply(c, State{}, fmt.Sprintf("unknown request %q", string(r.Want)))
	}
}

// readRequest does not wait any longer when the lab's end has come.
func (s *supervisor) readRequest(c *lineConn, r *request) error {
	c.SetReadDeadline(time.Now().Add(lineLimit))
	ended := context.AfterFunc(s.fate, func() { c.Close() })
	err := c.readLine(r)
	if !ended() {
		return net.ErrClosed
	}
	c.SetReadDeadline(time.Time{})
	return err
}

func (s *supervisor) reply(c *lineConn, state State, refused string) error {
	c.SetWriteDeadline(time.Now().Add(lineLimit))
	defer c.SetWriteDeadline(time.Time{})
	return c.writeLine(reply{protocolVersion, refused, state})
}

// watch tells a client every state, to the last one or until it has heard enough.
func (s *supervisor) watch(c *lineConn) {
	left := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c)
		close(left)
	}()
	for {
		state, changed := s.now()
		if s.reply(c, state, "") != nil || state.Phase == Stopping {
			return
		}
		select {
		case <-changed:
		case <-left:
			return
		}
	}
}

// awaitReady tells a client every state until the lab is ready, and whether it is.
func (s *supervisor) awaitReady(c *lineConn) bool {
	for {
		state, changed := s.now()
		if s.reply(c, state, "") != nil {
			return false
		}
		if state.Phase != Starting {
			return state.Phase == Ready
		}
		<-changed
	}
}

// proxy makes a connection a session with the lab's agent.
func (s *supervisor) proxy(ctx context.Context, c net.Conn) {
	_ = s.machine.agent.Proxy(ctx, lastWord{c, s})
}

// lastWord is a client's connection that stays open, when the lab dies, until the reason is on record: a client that
// sees its session end looks there.
type lastWord struct {
	net.Conn
	s *supervisor
}

func (l lastWord) Close() error {
	select {
	case <-l.s.machine.agent.Done():
		<-l.s.fate.Done()
	default:
	}
	return l.Conn.Close()
}
