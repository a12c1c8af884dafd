// Package agent runs commands in the guest for the host.
package agent

import (
	"context"
	"io"
)

// Server is the guest's end: it runs commands for the clients of a session.
type Server struct {
	// Env is the default environment of commands. Nil is this process's own.
	Env []string
	// Cgroup is a cgroup v2 folder to make cgroups for commands in. Empty means none: then a command's children are
	// found by their session, which they may leave.
	Cgroup string
	// End is asked to end the machine. Nil refuses.
	End func(Action) error
}

// Action is a way to end the machine.
type Action int

// The actions.
const (
	PowerOff Action = iota + 1
	Reboot
)

// Serve is Serve of a Server with no settings.
func Serve(ctx context.Context, conn io.ReadWriteCloser) error { return (&Server{}).Serve(ctx, conn) }

// Serve waits for a client on conn, serves it until the session ends, and closes conn.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error { return errTODO }
