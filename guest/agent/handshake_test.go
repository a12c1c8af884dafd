package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHostComesFirst has the client ask for a while before the guest's agent is there.
func TestHostComesFirst(t *testing.T) {
	host, guest := socketLink(t)
	defer guest.Close()
	clients := make(chan *Client, 1)
	go func() {
		c, err := NewClient(context.Background(), host)
		if err != nil {
			t.Error(err)
		}
		clients <- c
	}()
	// What the host says meanwhile piles up, as in a serial port's or a socket's buffer: three hellos.
	early := make([]byte, 3*len(hail{version, verbHello, newNonce()}.String()))
	if _, err := io.ReadFull(guest, early); err != nil {
		t.Fatal(err)
	}
	serve(t, &Server{}, &replay{ReadWriteCloser: guest, first: early})
	c := <-clients
	if c == nil {
		return
	}
	defer c.Close()
	if out, err := c.Command(t.Context(), "echo", "hello").Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// replay is a stream that begins with bytes that have been read from it already.
type replay struct {
	io.ReadWriteCloser
	first []byte
}

func (r *replay) Read(b []byte) (int, error) {
	if len(r.first) == 0 {
		return r.ReadWriteCloser.Read(b)
	}
	n := copy(b, r.first)
	r.first = r.first[n:]
	return n, nil
}

// TestStaleBytes puts what an earlier session, or a boot loader, may have left in front of either end's first byte.
func TestStaleBytes(t *testing.T) {
	old := newNonce()
	for name, stale := range map[string]string{
		"text":           "SeaBIOS (version 1.16)\r\nBooting from ROM..",
		"frames":         "\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x05abcde\x00\x01\x00\x01",
		"old hello":      hail{version, verbHello, old}.String(),
		"old start":      hail{version, verbStart, old}.String(),
		"old answer":     hail{version, verbHere, old}.String() + hail{version, verbReady, old}.String(),
		"half a line":    "\ntandem-agent/1 hel",
		"no line's end":  strings.Repeat("x", 1<<20),
		"many lines":     strings.Repeat("\n", 1<<20),
		"nearly a hail":  "\ntandem-agent/1 hello\ntandem-agent hello x\nfoo/1 hello x\ntandem-agent/1 hello x y\n",
		"unknown verb":   hail{version, "goodbye", old}.String(),
		"carriage lines": strings.ReplaceAll(hail{version, verbHello, old}.String(), "\n", "\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			host, guest := socketLink(t)
			serve(t, &Server{}, &replay{guest, []byte(stale)})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := NewClient(ctx, &replay{host, []byte(stale)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if out, err := c.Command(t.Context(), "echo", "hello").Output(); err != nil || string(out) != "hello\n" {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
}

// TestEcho begins on a line that echoes and edits, as a terminal does until somebody has set it up: the server does so
// while the client asks already.
func TestEcho(t *testing.T) {
	a, b := openLine(t), openLine(t)
	wire(t, a, b)
	makeRaw(t, a.slave)
	clients := make(chan *Client, 1)
	go func() {
		c, err := NewClient(context.Background(), a.slave)
		if err != nil {
			t.Error(err)
		}
		clients <- c
	}()
	eventually(t, "a hello waits at the guest's line", func() bool {
		n := 0
		if raw, err := b.slave.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		}
		return n > 0
	})
	makeRaw(t, b.slave)
	serve(t, &Server{}, b.slave)
	if c := <-clients; c != nil {
		defer c.Close()
		if out, err := c.Command(t.Context(), "echo", "hello").Output(); err != nil || string(out) != "hello\n" {
			t.Errorf("got %q, %v", out, err)
		}
	}
}

// TestNextClient comes on a line that did not tell when the last client left. The server's old session ends by its
// hello, and the next one answers.
func TestNextClient(t *testing.T) {
	host, guest := socketLink(t)
	served := make(chan error)
	go func() {
		for range 2 {
			served <- Serve(context.Background(), unclosable{guest})
		}
	}()
	// The first client greets, and then says no more.
	if _, err := greet(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	clients := make(chan *Client, 1)
	go func() {
		c, err := NewClient(context.Background(), host)
		if err != nil {
			t.Error(err)
		}
		clients <- c
	}()
	if err := <-served; err != nil {
		t.Errorf("the first session ended with %v", err)
	}
	if c := <-clients; c != nil {
		if out, err := c.Command(t.Context(), "echo", "hello").Output(); err != nil || string(out) != "hello\n" {
			t.Errorf("got %q, %v", out, err)
		}
		c.Close()
	}
	if err := <-served; err != nil {
		t.Errorf("the second session ended with %v", err)
	}
	guest.Close()
}

// unclosable is a line that is opened again after each session, and is still the same.
type unclosable struct{ io.ReadWriteCloser }

func (unclosable) Close() error { return nil }

func TestNoAgent(t *testing.T) {
	t.Run("something else", func(t *testing.T) {
		host, guest := net.Pipe()
		defer guest.Close()
		go io.Copy(io.Discard, guest)
		go io.Copy(guest, endless{})
		if _, err := NewClient(t.Context(), host); !errors.Is(err, ErrNoAgent) {
			t.Errorf("NewClient = %v, want %v", err, ErrNoAgent)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		host, guest := net.Pipe()
		defer guest.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := NewClient(ctx, host); !errors.Is(err, ErrNoAgent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("NewClient = %v, want %v by %v", err, ErrNoAgent, context.DeadlineExceeded)
		}
		if _, err := host.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the stream was left open: %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		host, guest := net.Pipe()
		guest.Close()
		if _, err := NewClient(t.Context(), host); err == nil {
			t.Error("NewClient on a closed stream: no error")
		}
	})
	t.Run("another version", func(t *testing.T) {
		host, guest := net.Pipe()
		defer guest.Close()
		go func() {
			lines := newLineReader(guest, -1)
			h, err := lines.next()
			if err == nil {
				io.WriteString(guest, hail{"2", verbHere, h.nonce}.String())
				io.Copy(io.Discard, guest)
			}
		}()
		if _, err := NewClient(t.Context(), host); !errors.Is(err, ErrVersion) {
			t.Errorf("NewClient = %v, want %v", err, ErrVersion)
		}
	})
}

func TestServeEnds(t *testing.T) {
	host, guest := net.Pipe()
	host.Close()
	if err := Serve(t.Context(), guest); !errors.Is(err, ErrNoClient) {
		t.Errorf("Serve = %v, want %v", err, ErrNoClient)
	}
	host, guest = net.Pipe()
	defer host.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if err := Serve(ctx, guest); !errors.Is(err, cause) {
		t.Errorf("Serve = %v, want %v", err, cause)
	}
}

func TestLineReader(t *testing.T) {
	text := "first\n" + strings.Repeat("y", 2*maxLine) + "\n\nlast"
	lines := newLineReader(strings.NewReader(text), -1)
	for _, want := range []string{"first", strings.Repeat("y", maxLine), ""} {
		if got, err := lines.line(); err != nil || got != want {
			t.Errorf("line = %q, %v, want %q", got, err, want)
		}
	}
	if got, err := lines.line(); !errors.Is(err, io.EOF) {
		t.Errorf("line = %q, %v, want %v", got, err, io.EOF)
	}
	lines = newLineReader(bytes.NewReader(make([]byte, 100)), 99)
	if _, err := lines.line(); !errors.Is(err, ErrNoAgent) {
		t.Errorf("line = %v, want %v", err, ErrNoAgent)
	}
}
