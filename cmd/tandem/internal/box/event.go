package box

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tandem/internal/lock"

	"golang.org/x/sys/unix"
)

// Event is something that has happened to a box.
//
// There is no daemon that could tell of events, as there is none that all boxes are started by. So whoever does something
// to a box writes a line to a file, and whoever wants to know reads it, and waits by inotify(7) for more:
//
//	tandem run, its keeper, tandem kill, exec ...      ── append, under a lock ──►  events  ──►  tandem events
//	                                                                                events.1
//
// A writer that is killed leaves a part of a line at worst, which the next one ends and readers leave out.
type Event struct {
	Time       time.Time         `json:"time"`
	Type       string            `json:"type"` // "container": there are no others yet
	Action     string            `json:"action"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Image      string            `json:"image,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"` // exitCode, signal, ...
}

const (
	eventsFile = "events"
	// maxEvents is the size at which the file is begun anew. The one before is kept beside it, and no other.
	maxEvents = 4 << 20
)

// tell puts an event down, with names and values. That it cannot, for a full disk, say, keeps nothing from being done.
func (r *Record) tell(action string, attributes ...string) {
	e := Event{
		Time: time.Now().UTC(), Type: "container", Action: action, ID: r.ID, Name: r.Name, Image: r.Options.Image, Labels: r.Options.Labels,
	}
	for i := 0; i+1 < len(attributes); i += 2 {
		if e.Attributes == nil {
			e.Attributes = make(map[string]string)
		}
		e.Attributes[attributes[i]] = attributes[i+1]
	}
	_ = r.home.putEvent(e)
}

func (h *Home) putEvent(e Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	path := filepath.Join(h.Run, eventsFile)
	unlock, err := lock.File(path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxEvents {
		if err := os.Rename(path, path+older); err != nil {
			return err
		}
		f.Close()
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return err
		}
	} else if info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' { // somebody was killed over it
			text = append([]byte{'\n'}, text...)
		}
	}
	_, err = f.Write(append(text, '\n'))
	return err
}

// EventOptions say which events are told.
type EventOptions struct {
	Since time.Time // the zero time: from now on
	Until time.Time // the zero time: for ever
}

// Events calls f for each event: those that were, as far as they are kept, and those to come until the context ends, which
// is an error, or the time has come, which is none.
func (h *Home) Events(ctx context.Context, o EventOptions, f func(Event) error) error {
	if !o.Until.IsZero() {
		var cancel func()
		ctx, cancel = context.WithDeadlineCause(ctx, o.Until, errUntil)
		defer cancel()
	}
	if err := os.MkdirAll(h.Run, 0o711); err != nil {
		return err
	}
	w, err := newEventReader(filepath.Join(h.Run, eventsFile))
	if err != nil {
		return err
	}
	defer w.close()
	if o.Since.IsZero() {
		if err := w.toEnd(); err != nil {
			return err
		}
	} else if err := w.old(); err != nil {
		return err
	}
	err = w.follow(ctx, func(e Event) error {
		if e.Time.Before(o.Since) || !o.Until.IsZero() && e.Time.After(o.Until) {
			return nil
		}
		return f(e)
	})
	if errors.Is(err, errUntil) {
		return nil
	}
	return err
}

var errUntil = errors.New("the time that was asked for is over")

// eventReader reads a file that grows, and is begun anew under its name.
type eventReader struct {
	path    string
	changes *os.File // inotify, of the folder: the file may not be there yet
	file    *os.File // nil if it is not
	lines   *bufio.Reader
	part    []byte // of a line that is being written
}

func newEventReader(path string) (*eventReader, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "inotify_add_watch", Path: filepath.Dir(path), Err: err}
	}
	w := &eventReader{path: path, changes: os.NewFile(uintptr(fd), "inotify")}
	if err := w.open(path); err != nil {
		w.changes.Close()
		return nil, err
	}
	return w, nil
}

// open takes a file that is not there for an empty one.
func (w *eventReader) open(path string) error {
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if w.file != nil {
		w.file.Close()
	}
	w.file, w.part, w.lines = nil, nil, nil
	if err == nil {
		w.file, w.lines = f, bufio.NewReader(f)
	}
	return nil
}

func (w *eventReader) close() {
	w.changes.Close()
	if w.file != nil {
		w.file.Close()
	}
}

func (w *eventReader) toEnd() error {
	if w.file == nil {
		return nil
	}
	_, err := w.file.Seek(0, io.SeekEnd)
	return err
}

// old begins with the file before, if there is one.
func (w *eventReader) old() error {
	if _, err := os.Stat(w.path + older); err != nil {
		return nil
	}
	return w.open(w.path + older)
}

// read gives what is there of whole lines.
func (w *eventReader) read(f func(Event) error) error {
	for w.file != nil {
		line, err := w.lines.ReadBytes('\n')
		w.part = append(w.part, line...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e Event
		if json.Unmarshal(w.part, &e) == nil { // a line that a crash cut in two is left out
			if err := f(e); err != nil {
				return err
			}
		}
		w.part = w.part[:0]
	}
	return nil
}

func (w *eventReader) follow(ctx context.Context, f func(Event) error) error {
	stop := context.AfterFunc(ctx, func() { _ = w.changes.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, 64<<10)
	for {
		if err := w.read(f); err != nil {
			return err
		}
		if w.file == nil || renamed(w.file, w.path) {
			if err := w.read(f); err != nil { // what was written before it was renamed; nothing was after
				return err
			}
			if err := w.open(w.path); err != nil {
				return err
			}
			if w.file != nil {
				continue
			}
		}
		if _, err := w.changes.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// Matches tells whether an event passes filters, each NAME=VALUE: all names must be met, by one of their values.
func (e Event) Matches(filters []string) (bool, error) {
	met := make(map[string]bool)
	for _, filter := range filters {
		name, value, given := strings.Cut(filter, "=")
		var ok bool
		switch {
		case !given || value == "":
			return false, wrong("--filter %q: want NAME=VALUE", filter)
		case name == "container":
			ok = e.Name == value || strings.HasPrefix(e.ID, value)
		case name == "event":
			action, _, _ := strings.Cut(e.Action, ":") // exec_start says what
			ok = action == value || e.Action == value
		case name == "image":
			ok = e.Image == value
		case name == "type":
			ok = e.Type == value
		case name == "label":
			key, want, whole := strings.Cut(value, "=")
			have, there := e.Labels[key]
			ok = there && (!whole || have == want)
		default:
			return false, wrong("--filter %q: want container, event, image, label or type", filter)
		}
		met[name] = met[name] || ok
	}
	for _, ok := range met {
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// ParseTime reads a time as --since and --until take it: a date, a date and time, seconds since 1970, or a span before now.
func ParseTime(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if span, err := time.ParseDuration(text); err == nil {
		return now.Add(-span), nil
	}
	if seconds, fraction, _ := strings.Cut(text, "."); len(fraction) <= 9 {
		s, err := strconv.ParseInt(seconds, 10, 64)
		n, fractionErr := strconv.ParseUint(fraction+"000000000"[len(fraction):], 10, 32)
		if err == nil && fractionErr == nil {
			return time.Unix(s, int64(n)), nil
		}
	}
	return time.Time{}, wrong("time %q: want one such as 2026-01-31T12:00:00, 1769860800, or 10m for ten minutes ago", text)
}
