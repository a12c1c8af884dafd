package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// proxied makes clients that share one session with a guest.
type proxied struct {
	t     *testing.T
	guest *Client
}

func newProxied(t *testing.T) proxied {
	t.Helper()
	return proxied{t, connect(t)}
}

// client is one more client, and the end of its session.
func (p proxied) client() (*Client, <-chan error) {
	p.t.Helper()
	near, far := socketLink(p.t)
	ended := make(chan error, 1)
	go func() { ended <- p.guest.Proxy(context.Background(), far) }()
	c, err := NewClient(p.t.Context(), near)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c, ended
}

func (p proxied) waitEnd(ended <-chan error) {
	p.t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("Proxy: %v", err)
		}
	case <-time.After(patience):
		p.t.Fatal("Proxy does not return")
	}
}

func TestProxy(t *testing.T) {
	p := newProxied(t)
	var all errgroup.Group
	for i := range 8 {
		c, ended := p.client()
		all.Go(func() error {
			sent := make([]byte, 1<<20)
			rand.Read(sent)
			var out bytes.Buffer
			cmd := c.Command(t.Context(), "sh", "-c", fmt.Sprintf("cat; exit %d", i))
			cmd.Stdin, cmd.Stdout = bytes.NewReader(sent), &out
			if err := cmd.Run(); ExitStatus(err) != i || !bytes.Equal(out.Bytes(), sent) {
				return fmt.Errorf("client %d: %d bytes, %w", i, out.Len(), err)
			}
			c.Close()
			p.waitEnd(ended)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	// The session that they shared goes on, and holds nothing of them.
	if out, err := p.guest.Command(t.Context(), "echo", "still here").Output(); err != nil || string(out) != "still here\n" {
		t.Errorf("got %q, %v", out, err)
	}
	eventually(t, "one stream is left", func() bool { return p.guest.mux.NumStreams() == 1 })
}

// TestProxiedClientDies has a client go without a word, in the middle of everything.
func TestProxiedClientDies(t *testing.T) {
	p := newProxied(t)
	c, ended := p.client()
	quick, quickEnded := p.client()

	commands := map[string]*Cmd{
		"writes":   c.Command(t.Context(), "yes"),
		"waits":    c.Command(t.Context(), "sleep", "1000"),
		"reads":    c.Command(t.Context(), "sh", "-c", "cat > /dev/null; echo end of input > "+t.TempDir()+"/wrong; sleep 1000"),
		"terminal": c.Command(t.Context(), "sh"),
	}
	commands["terminal"].TTY = true
	hang := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(hang) }) }
	defer release()
	for name, cmd := range commands {
		read, write := io.Pipe()
		defer write.Close()
		cmd.Stdin = read
		cmd.Stdout = writerFunc(func(b []byte) (int, error) { <-hang; return len(b), nil })
		if err := cmd.Start(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	c.mux.Close()
	p.waitEnd(ended)
	for name, cmd := range commands {
		eventually(t, name+" is gone", func() bool { return gone(cmd.Pid) })
	}
	if out, err := quick.Command(t.Context(), "echo", "beside").Output(); err != nil || string(out) != "beside\n" {
		t.Errorf("got %q, %v", out, err)
	}
	quick.Close()
	p.waitEnd(quickEnded)
	eventually(t, "one stream is left", func() bool { return p.guest.mux.NumStreams() == 1 })
	release()
	for _, cmd := range commands {
		cmd.Wait()
	}
}

func TestProxiedReaderGone(t *testing.T) {
	p := newProxied(t)
	c, _ := p.client()
	cmd := c.Command(t.Context(), "yes")
	cmd.Stdout = writerFunc(func([]byte) (int, error) { return 0, errors.New("full") })
	if err := cmd.Run(); ExitStatus(err) != 128+13 {
		t.Errorf("Run = %v, want SIGPIPE", err)
	}
	cmd = c.Command(t.Context(), "head", "-c", "3")
	cmd.Stdin = endless{}
	if out, err := cmd.Output(); err != nil || string(out) != "xxx" {
		t.Errorf("head = %q, %v", out, err)
	}
	eventually(t, "two streams are left", func() bool { return p.guest.mux.NumStreams() == 2 })
}

// TestGuestDies ends the clients behind a proxy.
func TestGuestDies(t *testing.T) {
	p := newProxied(t)
	c, ended := p.client()
	cmd := c.Command(t.Context(), "cat")
	cmd.Stdin, cmd.Stdout = strings.NewReader("x"), io.Discard
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	cmd = c.Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.guest.Close()
	if err := cmd.Wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait = %v, want %v", err, ErrClosed)
	}
	p.waitEnd(ended)
}
