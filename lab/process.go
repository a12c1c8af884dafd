package lab

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/internal/process"
)

// kill ends the process and waits until it is gone. One that is gone already is no error.
func kill(ctx context.Context, p process.ID) error {
	fd, err := p.Open()
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer fd.Close()
	if err := process.Signal(fd, unix.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return process.Await(ctx, fd)
}
