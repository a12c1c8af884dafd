package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// A connection to the supervisor begins with one line of JSON from the client, the request, and one from the
// supervisor, a reply. What follows depends on what the client wants.
const protocolVersion = 1

// want is what a client asks of the supervisor.
type want string

const (
	// wantState: a reply for every change of the state follows, until the lab is gone.
	wantState want = "state"
	// wantAgent: the connection becomes a session with the lab's agent.
	wantAgent want = "agent"
	// wantStop: the lab goes down; the connection ends when it has.
	wantStop want = "stop"
)

type request struct {
	Version int  `json:"version"`
	Want    want `json:"want"`
}

type reply struct {
	Version int    `json:"version"`
	Refused string `json:"refused,omitempty"`
	State   State  `json:"state"`
}

// maxLine bounds a line of JSON. A state holds an error's text, which holds the end of a console's log.
const maxLine = 64 << 10

// errLine is a peer that does not speak our protocol.
var errLine = errors.New("not a line of JSON")

// lineConn is a connection whose lines are read through a buffer. What is read from it by other means comes through
// the same buffer, so that nothing is lost.
type lineConn struct {
	net.Conn
	r *bufio.Reader
}

func newLineConn(c net.Conn) *lineConn { return &lineConn{c, bufio.NewReaderSize(c, maxLine)} }

func (c *lineConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// readLine reads one line into v. It returns io.EOF if the connection ended before it.
func (c *lineConn) readLine(v any) error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w", errLine, err)
	}
	return nil
}

func (c *lineConn) writeLine(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.Write(append(line, '\n'))
	return err
}

// readReply reads the next reply, and makes an error of one that refuses.
func (c *lineConn) readReply() (State, error) {
	var r reply
	if err := c.readLine(&r); err != nil {
		return State{}, err
	}
	if r.Version != protocolVersion {
		return State{}, ErrVersion
	}
	if r.Refused != "" {
		return State{}, errors.New(r.Refused)
	}
	return r.State, nil
}
