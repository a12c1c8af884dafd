package box

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// attachSocket is where a detached box's keeper listens for who wants to be at its terminal.
const attachSocket = "attach"

// hub is a keeper's end of all who are attached:
//
//	box ── stdout, stderr ──► keeper ──┬──► log
//	                                   ├──► queue ──► tandem attach
//	                                   └──► queue ──► tandem attach
//	box ◄── stdin ── keeper ◄── what either types
//
// The box waits for them as it would for a terminal, but not for long: who does not go on to read is dropped.
type hub struct {
	listener *net.UnixListener
	serving  sync.WaitGroup

	mu      sync.Mutex
	in      *os.File // of the box; nil if it reads none
	inEnds  bool     // when that of somebody who is attached does
	size    unix.Winsize
	clients map[*client]bool
	held    []byte // output that nobody is there for yet, in frames; nil if that does not matter
	holds   bool
	arrived chan struct{} // closed when the first has come
	over    bool

	patience time.Duration // with who does not read
}

// client is one who is attached.
type client struct {
	conn  *net.UnixConn
	queue chan []byte
	gone  chan struct{} // closed when there is no more for him
}

const (
	// queued is how much may wait for a client, in pieces of what the box wrote at a time.
	queued = 64
	// slow is how long the box waits for a client with a full queue.
	slow = 10 * time.Second
	// maxHeld is how much output waits for the first client, where one has said that he comes.
	maxHeld = 1 << 20
	// arrival is how long a box that has ended waits for him, so that he sees what it wrote.
	arrival = 10 * time.Second
	// farewell is how long the last of the output may take to be read.
	farewell = 5 * time.Second
	// acceptPause is how long those who come wait where the machine cannot take them.
	acceptPause = 100 * time.Millisecond
)

// newHub begins to listen.
func newHub(r *Record) (*hub, error) {
	l, err := listenAt(r.file(attachSocket))
	if err != nil {
		return nil, fmt.Errorf("box: listen for who attaches: %w", err)
	}
	h := &hub{listener: l, clients: make(map[*client]bool), arrived: make(chan struct{}), holds: r.handover.Hold, inEnds: r.Options.StdinOnce, patience: slow}
	h.serving.Go(h.accept)
	return h, nil
}

// listenAt makes a socket that its owner alone can connect to. Its path goes by the folder's descriptor, as sun_path takes
// 108 bytes (unix(7)).
func listenAt(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	short, done, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by a name that is another folder's then
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (h *hub) accept() {
	for {
		conn, err := h.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // of descriptors, say: nothing tells when there are some again
			time.Sleep(acceptPause)
			continue
		}
		c := &client{conn: conn, queue: make(chan []byte, queued), gone: make(chan struct{})}
		h.mu.Lock()
		if h.over {
			h.mu.Unlock()
			conn.Close()
			continue
		}
		h.clients[c] = true
		if h.held != nil {
			c.queue <- h.held
		}
		if h.held, h.holds = nil, false; len(h.clients) == 1 {
			h.arrive()
		}
		h.mu.Unlock()
		h.serving.Go(func() { h.send(c) })
		h.serving.Go(func() { h.receive(c) })
	}
}

// arrive is called with the lock held.
func (h *hub) arrive() {
	select {
	case <-h.arrived:
	default:
		close(h.arrived)
	}
}

// send writes what has queued up, and closes the connection when there is no more.
func (h *hub) send(c *client) {
	defer c.conn.Close()
	for {
		var frames []byte
		select {
		case frames = <-c.queue:
		case <-c.gone:
			select {
			case frames = <-c.queue:
			default:
				return
			}
		}
		if _, err := c.conn.Write(frames); err != nil {
			h.drop(c)
			return
		}
	}
}

func (h *hub) receive(c *client) {
	for {
		kind, payload, err := readFrame(c.conn)
		if err != nil {
			h.drop(c)
			return
		}
		h.mu.Lock()
		in := h.in
		if kind == frameSize && len(payload) == 4 {
			h.size = unix.Winsize{Row: binary.BigEndian.Uint16(payload), Col: binary.BigEndian.Uint16(payload[2:])}
			h.resize()
		}
		h.mu.Unlock()
		switch {
		case kind != frameInput || in == nil:
		case len(payload) == 0:
			h.endInput()
		default:
			_, _ = in.Write(payload) // the box may have closed its end
		}
	}
}

func (h *hub) endInput() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.in != nil && h.inEnds {
		h.in.Close()
		h.in = nil
	}
}

// resize is called with the lock held. A pipe has no size.
func (h *hub) resize() {
	if h.in == nil || h.size == (unix.Winsize{}) {
		return
	}
	if c, err := h.in.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &h.size) })
	}
}

func (h *hub) drop(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked(c)
}

func (h *hub) dropLocked(c *client) {
	if h.clients[c] {
		delete(h.clients, c)
		close(c.gone)
	}
}

// input says where the box reads; nil is nowhere.
func (h *hub) input(f *os.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.in = f
	h.resize() // the terminal of a box that was started anew is a new one
}

// output takes what the box writes.
func (h *hub) output(stream string) io.Writer {
	kind := frameStdout
	if stream == "stderr" {
		kind = frameStderr
	}
	return hubWriter{h, kind}
}

type hubWriter struct {
	hub  *hub
	kind frameKind
}

func (w hubWriter) Write(p []byte) (int, error) {
	w.hub.spread(w.kind, p)
	return len(p), nil
}

// spread gives all of them what the box wrote.
func (h *hub) spread(kind frameKind, p []byte) {
	h.mu.Lock()
	clients := slices.Collect(maps.Keys(h.clients))
	holds := h.holds
	var frames []byte
	for len(p) > 0 && (holds || len(clients) > 0) {
		part := p[:min(len(p), maxFrame)]
		frames = appendFrame(frames, kind, part)
		p = p[len(part):]
	}
	if holds && len(h.held) < maxHeld {
		h.held = append(h.held, frames...)
	}
	h.mu.Unlock()
	for _, c := range clients {
		if !c.push(frames, h.patience) {
			h.drop(c)
			c.conn.Close()
		}
	}
}

// push tells whether there was room in time, or nobody to need any.
func (c *client) push(frames []byte, patience time.Duration) bool {
	select {
	case c.queue <- frames:
		return true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case c.queue <- frames:
		return true
	case <-c.gone:
		return true
	case <-timer.C:
		return false
	}
}

// awaitFirst waits for who has said that he comes.
func (h *hub) awaitFirst() {
	h.mu.Lock()
	waits := h.holds
	h.mu.Unlock()
	if waits {
		select {
		case <-h.arrived:
		case <-time.After(arrival):
		}
	}
}

// ended tells all how the box ended, and lets them go.
func (h *hub) ended(exit Exit) {
	text, err := json.Marshal(exit)
	if err != nil {
		return
	}
	h.letGo(appendFrame(nil, frameEnd, text))
}

// letGo gives all of them a last word, and drops them.
func (h *hub) letGo(word []byte) {
	h.mu.Lock()
	clients := slices.Collect(maps.Keys(h.clients))
	h.mu.Unlock()
	for _, c := range clients {
		_ = c.conn.SetWriteDeadline(time.Now().Add(farewell))
		if word != nil {
			c.push(word, farewell)
		}
		h.drop(c)
	}
}

// close waits until all have what is theirs.
func (h *hub) close() {
	h.mu.Lock()
	h.over = true
	h.mu.Unlock()
	h.letGo(nil)
	h.listener.Close()
	h.serving.Wait()
}

// shortPath is a way to a socket that fits into a socket's address, until done is called.
func shortPath(path string) (short string, done func(), err error) {
	dir, name := filepath.Dir(path), filepath.Base(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", fd, name), func() { unix.Close(fd) }, nil
}
