package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func addJSONFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON, for programs")
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// isTerminal tells whether a person is at the other end of a stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// status shows what tandem is doing on one line of a terminal, each step in the place of the last. Elsewhere it shows
// nothing. The zero value shows nothing too.
type status struct {
	terminal io.Writer
	shown    bool
}

// newStatus shows on the command's stderr.
func newStatus(cmd *cobra.Command) *status {
	if w := cmd.ErrOrStderr(); isTerminal(w) {
		return &status{terminal: w}
	}
	return &status{}
}

const clearLine = "\r\x1b[K"

func (s *status) step(format string, args ...any) {
	if s.terminal != nil {
		fmt.Fprintf(s.terminal, clearLine+format, args...)
		s.shown = true
	}
}

// progress is a step with a part done of a total in bytes, where the total is known.
func (s *status) progress(step string, done, total int64) {
	switch {
	case total > 0:
		s.step("%s %d%%", step, done*100/total)
	case done > 0:
		s.step("%s %.1f MiB", step, float64(done)/(1<<20))
	default:
		s.step("%s", step)
	}
}

// done wipes the line, for what comes next.
func (s *status) done() {
	if s.shown {
		fmt.Fprint(s.terminal, clearLine)
		s.shown = false
	}
}
