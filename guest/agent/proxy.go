package agent

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/yamux"
)

// Proxy serves one more client, NewClient's other end, on conn: it gets a session of its own with the same guest, and
// its commands are killed when that session ends. Proxy closes conn and returns when conn's session has ended and the
// guest has cleaned up; the Client goes on.
//
// Each stream that the client opens becomes one of the guest's session, byte for byte: the proxy knows nothing of what
// is said.
func (c *Client) Proxy(ctx context.Context, conn io.ReadWriteCloser) error {
	defer conn.Close()
	defer closeOn(ctx, conn)()
	ready, err := welcome(conn)
	if err != nil {
		return noClient(ctx, err)
	}
	near, err := yamux.Server(ready, sessionConfig())
	if err != nil {
		return fmt.Errorf("agent: proxy: %w", err)
	}
	// The near session ends with the guest's.
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-c.Done():
			near.Close()
		case <-ended:
		}
	}()

	var streams sync.WaitGroup
	defer streams.Wait()
	defer near.Close()
	for {
		stream, err := near.AcceptStream()
		if err != nil {
			return serveError(ctx, err)
		}
		streams.Go(func() { c.proxyStream(stream) })
	}
}

// proxyStream joins a client's stream to a new one of the guest's, until both directions have ended.
func (c *Client) proxyStream(near *yamux.Stream) {
	defer near.Close()
	var kind [1]byte
	if _, err := io.ReadFull(near, kind[:]); err != nil {
		return
	}
	if c.mux.NumStreams() >= maxStreams {
		return
	}
	far, err := c.mux.OpenStream()
	if err != nil {
		return
	}
	defer far.Close()
	if _, err := far.Write(kind[:]); err != nil {
		return
	}

	var outward sync.WaitGroup
	outward.Go(func() {
		io.Copy(onlyWriter{far}, onlyReader{near})
		// When the client's session broke, only its control stream may tell the guest so: the end of a stdin would be
		// taken for the end of the input. The guest then closes the others.
		if !near.Session().IsClosed() || streamKind(kind[0]) == controlStream {
			far.Close()
		}
		near.SetWriteDeadline(past) // a reader that closes its stream wants no more
	})
	if _, err := io.Copy(onlyWriter{near}, onlyReader{far}); err != nil {
		io.Copy(io.Discard, far) // up to the guest's end
	}
	near.Close()
	far.SetWriteDeadline(past)
	near.SetReadDeadline(past)
	outward.Wait()
}
