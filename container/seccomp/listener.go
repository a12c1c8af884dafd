package seccomp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// SendListener hands a filter's listener to the agent that listens on the Unix socket at path, with the state of the
// process that the filter is on (runtime-spec, config-linux, "The Container Process State"). It sets state.Fds; the
// rest is the caller's to fill in. One state goes over one connection, which is closed afterwards.
//
// The descriptor stays the caller's, who closes it. The agent has got its own when this returns without an error, as
// far as a stream socket tells: the kernel holds it for the agent, who need not have read it yet.
//
// When ctx ends before, so does the call, with ctx's cause.
func SendListener(ctx context.Context, path string, listener int, state specs.ContainerProcessState) error {
	if err := sendListener(ctx, path, listener, state); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return fmt.Errorf("seccomp: send listener to %s: %w", path, err)
	}
	return nil
}

func sendListener(ctx context.Context, path string, listener int, state specs.ContainerProcessState) error {
	state.Fds = []string{specs.SeccompFdName}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer connection.Close()
	// An agent that accepts and does not read would hold the container for ever.
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	unixConnection := connection.(*net.UnixConn)
	// The descriptor goes with the first byte, whatever part of the text the socket takes at once.
	n, _, err := unixConnection.WriteMsgUnix(text, unix.UnixRights(listener), nil)
	if err != nil {
		return err
	}
	if _, err := unixConnection.Write(text[n:]); err != nil {
		return err
	}
	return connection.Close()
}
