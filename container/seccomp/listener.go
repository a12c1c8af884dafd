package seccomp

import (
	"context"
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// SendListener hands the listener's descriptor to the agent at the Unix socket path, with the state of the process
// that the filter is on (runtime-spec, config-linux: seccomp, "The container process state"). The descriptor stays
// the caller's, who closes it afterwards.
func SendListener(ctx context.Context, path string, listener int, state *specs.ContainerProcessState) error {
	return errors.ErrUnsupported
}
