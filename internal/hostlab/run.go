package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// goTest runs go test with the arguments and gathers what it reports. That tests fail is no error: the results say it.
func goTest(ctx context.Context, c *collector, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json", "-count=1"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go test ends its tests then
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := c.read(out)
	err = cmd.Wait()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return fmt.Errorf("go test: %w", context.Cause(ctx))
	}
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	return errors.Join(readErr, err)
}

// listPackages expands patterns such as ./... .
func listPackages(ctx context.Context, patterns []string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// canRace tells whether the race detector links here: it is C code.
func canRace(ctx context.Context) bool {
	out, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED").Output()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		return false
	}
	_, err = exec.LookPath("gcc")
	return err == nil
}
