package box

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// Errors of being attached.
var (
	// ErrForeground is a box that has no keeper of its own to attach to: nobody is between it and its streams.
	ErrForeground = errors.New("it runs in the foreground, and its streams are those of the command that runs it; only one that was started with -d or -t can be attached to")
	// ErrLeft is a connection that ended before the box did: its keeper was killed, or its output was not read in time.
	ErrLeft = errors.New("the container's keeper has broken the connection off")
)

// Attachment is a connection to a detached box's streams. Its methods may be called at the same time.
type Attachment struct {
	conn *net.UnixConn
	mu   sync.Mutex // of who writes
}

// Attach connects to the box's streams, as they are from now on.
func (r *Record) Attach(ctx context.Context) (*Attachment, error) {
	// One that has just ended may wait for us yet, and its keeper knows best.
	if s := r.Status(); s == Exited || s == Dead || r.Keeper == (Keeper{}) {
		return nil, fmt.Errorf("attach: %w: %s is %s", ErrStopped, r.Name, s)
	}
	if !r.Options.Detach {
		return nil, fmt.Errorf("attach to %s: %w", r.Name, ErrForeground)
	}
	return r.attach(ctx)
}

func (r *Record) attach(ctx context.Context) (*Attachment, error) {
	short, done, err := shortPath(r.file(attachSocket))
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", short)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("attach: %w: %s", ErrStopped, r.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	r.tell("attach")
	return &Attachment{conn: conn.(*net.UnixConn)}, nil
}

// Write sends standard input. What a box without --interactive is sent is not read.
func (a *Attachment) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := writeFrames(a.conn, frameInput, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseInput says that there is no more standard input. One that others may go on with is not closed by that.
func (a *Attachment) CloseInput() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.conn.Write(appendFrame(nil, frameInput, nil))
	return err
}

// Resize tells how large the terminal is.
func (a *Attachment) Resize(rows, cols uint16) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	payload := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, rows), cols)
	return writeFrames(a.conn, frameSize, payload)
}

// Follow copies the box's output until it ends, and tells how that was. ErrLeft is another end.
func (a *Attachment) Follow(stdout, stderr io.Writer) (Exit, error) {
	var exit Exit
	for {
		kind, payload, err := readFrame(a.conn)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
			return exit, ErrLeft
		}
		if err != nil {
			return exit, err
		}
		switch kind {
		case frameStdout:
			_, err = stdout.Write(payload)
		case frameStderr:
			_, err = stderr.Write(payload)
		case frameEnd:
			return exit, json.Unmarshal(payload, &exit)
		}
		if err != nil {
			return exit, err
		}
	}
}

// Close ends the connection; the box goes on.
func (a *Attachment) Close() error { return a.conn.Close() }

// Detached says that the box was left by its keys.
func (r *Record) Detached() { r.tell("detach") }
