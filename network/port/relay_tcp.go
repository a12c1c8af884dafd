package port

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
)

func (r *Relay) serveTCP(ctx context.Context, socket *os.File, target netip.AddrPort) error {
	listener, err := net.FileListener(socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	defer listener.Close()
	var group sync.WaitGroup
	defer group.Wait()
	for {
		client, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				client.Close()
			}
			return nil
		case err == nil:
			group.Go(func() { r.log(r.relayTCP(ctx, client.(*net.TCPConn), target)) })
		case !passing(err):
			return err
		case !pause(ctx):
			return nil
		}
	}
}

// relayTCP copies both ways until both are at their end. Package net copies between two TCP sockets by splice(2), so
// that no byte passes through this process.
func (r *Relay) relayTCP(ctx context.Context, client *net.TCPConn, target netip.AddrPort) error {
	defer client.Close()
	conn, err := r.dial(ctx, TCP, target)
	if err != nil {
		client.SetLinger(0) // a reset is the nearest thing to a refusal that an accepted connection can give
		return fmt.Errorf("port: relay %s: %w", client.RemoteAddr(), err)
	}
	box := conn.(*net.TCPConn)
	defer box.Close()
	defer context.AfterFunc(ctx, func() { reset(client, box) })()

	var group sync.WaitGroup
	group.Go(func() { copyTCP(box, client) })
	group.Go(func() { copyTCP(client, box) })
	group.Wait()
	return nil
}

// copyTCP copies one direction and passes on how it ended: an end of file ends this direction alone, an error is the
// end of both.
func copyTCP(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to, from)
		return
	}
	if err := to.CloseWrite(); err != nil {
		reset(to, from)
	}
}

func reset(conns ...*net.TCPConn) {
	for _, c := range conns {
		c.SetLinger(0)
		c.Close()
	}
}
