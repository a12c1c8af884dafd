package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A reading is what one run of a monitor gave.
type reading struct {
	// wall is from just before fork to the guest's mark.
	wall time.Duration
	// own is the anonymous memory that is the monitor's and not the guest's, in bytes.
	own uint64
}

// measure runs the monitor until its guest prints mark, looks at its memory, and ends it.
func measure(ctx context.Context, m monitor, g guest, mark string) (reading, error) {
	cmd := exec.CommandContext(ctx, m.path, m.args(g)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return reading{}, err
	}
	// A pipe that stays open: a monitor may take the end of its input for the end of the console.
	in, err := cmd.StdinPipe()
	if err != nil {
		return reading{}, err
	}
	defer in.Close()
	var said bytes.Buffer
	cmd.Stderr = &said
	// The whole group is ended: a monitor may have processes of its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	start := time.Now()
	if err := cmd.Start(); err != nil {
		return reading{}, err
	}
	seen, markErr := readUntil(out, mark)
	r := reading{wall: time.Since(start)}
	var memErr error
	if markErr == nil {
		r.own, memErr = ownMemory(cmd.Process.Pid, uint64(g.memory)<<20)
	}
	cmd.Cancel()
	cmd.Wait()
	if markErr != nil {
		return reading{}, fmt.Errorf("%s: %w before its guest printed %q; it printed %q and %q",
			m.name, errors.Join(markErr, ctx.Err()), mark, tail(seen), tail(said.String()))
	}
	return r, memErr
}

// readUntil reads until mark has come, and gives what came.
func readUntil(r io.Reader, mark string) (string, error) {
	var seen strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		seen.Write(buf[:n])
		if strings.Contains(seen.String(), mark) {
			return seen.String(), nil
		}
		if err != nil {
			return seen.String(), err
		}
	}
}

func tail(s string) string {
	const most = 400
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

// compare runs every monitor n times, in turn so that the machine's moods meet all alike, after one turn that is not
// counted. A monitor that fails is left out from then on, and its error kept.
func compare(ctx context.Context, monitors []monitor, g guest, mark string, n int, limit time.Duration) []result {
	results := make([]result, len(monitors))
	for i, m := range monitors {
		results[i].Name = m.name
	}
	for turn := -1; turn < n; turn++ {
		progress("turn %d of %d", max(turn+1, 0), n)
		for i, m := range monitors {
			if results[i].err != nil {
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, limit)
			r, err := measure(ctx, m, g, mark)
			cancel()
			if err != nil {
				results[i].err = err
			} else if turn >= 0 {
				results[i].readings = append(results[i].readings, r)
			}
		}
	}
	progress("")
	return results
}

// progress keeps one line on a terminal.
func progress(format string, args ...any) {
	if st, err := os.Stderr.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
}
