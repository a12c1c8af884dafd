package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"tandem/internal/plan"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// level is how grave a message is.
type level int

const (
	levelDebug level = iota
	levelInfo
	levelWarning
	levelError
)

var levelNames = []string{"debug", "info", "warning", "error"}

func (l level) String() string { return levelNames[l] }

// parseLevel reads a level. Logrus, whose names runc takes, has some more.
func parseLevel(name string) (level, error) {
	switch name = strings.ToLower(name); name {
	case "trace":
		return levelDebug, nil
	case "warn":
		return levelWarning, nil
	case "fatal", "panic":
		return levelError, nil
	}
	if i := slices.Index(levelNames, name); i >= 0 {
		return level(i), nil
	}
	return 0, fmt.Errorf("--log-level %q: want %s", name, strings.Join(levelNames, ", "))
}

// logger writes to stderr, for people, or to a file, for the caller. It is not for use from several goroutines.
type logger struct {
	stderr io.Writer
	shared bool     // stderr is the container's too, which may go to a log of its own
	file   *os.File // nil: stderr alone
	json   bool
	least  level
}

func (l *logger) open(path, format, name string, debug bool) error {
	switch format {
	case "text", "":
	case "json":
		l.json = true
	default:
		return fmt.Errorf("--log-format %q: want text or json", format)
	}
	kind, rest, prefixed := strings.Cut(path, ":")
	switch {
	case prefixed && kind == "file": // as crun has it
		path = rest
	case prefixed && (kind == "journald" || kind == "syslog"):
		return fmt.Errorf("--log %q: want the path of a file", path)
	}
	var err error
	if l.least, err = l.level(name, path, debug); err != nil || path == "" {
		return err
	}
	l.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("--log: %w", err)
	}
	return nil
}

// level is what is logged if --log-level does not say. A caller who reads JSON from a file reads one object, the error.
// And whoever reads what a container has said on stderr does not want to read there what the runtime says.
func (l *logger) level(name, path string, debug bool) (level, error) {
	switch {
	case debug:
		return levelDebug, nil
	case name != "":
		return parseLevel(name)
	case l.json && path != "", l.shared && path == "" && !isTerminal(l.stderr):
		return levelError, nil
	}
	return levelWarning, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (l *logger) close() {
	if l.file != nil {
		l.file.Close()
	}
}

func (l *logger) debugf(format string, args ...any) {
	l.print(levelDebug, fmt.Sprintf(format, args...))
}

// observer tells of a plan's steps. It is nil where nobody would read that: a plan that is not told of is made faster.
func (l *logger) observer() func(*plan.Step) {
	if l.least > levelDebug {
		return nil
	}
	return func(s *plan.Step) { l.debugf("%v", s) }
}

func (l *logger) warningf(format string, args ...any) {
	l.print(levelWarning, fmt.Sprintf(format, args...))
}

// fail reports the error that ends this run. It is told to people even where the log is a file.
func (l *logger) fail(err error) {
	l.print(levelError, err.Error())
	if l.file != nil {
		fmt.Fprintf(l.stderr, "tandem-oci: %v\n", err)
	}
}

// print loses a message that cannot be written: there is nowhere else to tell it.
func (l *logger) print(grave level, message string) {
	if grave < l.least {
		return
	}
	var w io.Writer = l.stderr
	if l.file != nil {
		w = l.file
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	switch {
	case l.json:
		line, _ := json.Marshal(struct {
			Level   string `json:"level"`
			Message string `json:"msg"`
			Time    string `json:"time"`
		}{grave.String(), message, now})
		_, _ = w.Write(append(line, '\n')) // in one piece, as others may write to the file too
	case l.file != nil:
		fmt.Fprintf(w, "time=%q level=%s msg=%q\n", now, grave, message)
	case grave == levelError:
		fmt.Fprintf(w, "tandem-oci: %s\n", message)
	default:
		fmt.Fprintf(w, "tandem-oci: %s: %s\n", grave, message)
	}
}
