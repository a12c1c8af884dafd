package port

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/network/netns"
)

// The box is a second address of the host's lo: what a relay sees of a box is an address that it can reach.
var (
	box4 = netip.MustParseAddr("127.1.1.1")
	box6 = netip.MustParseAddr("::1")
)

type relayed struct {
	ns   *netns.NS
	done chan error
	stop context.CancelFunc
}

// startRelay holds the mapping and relays for it until the test ends.
func startRelay(t *testing.T, text string, box ...netip.Addr) relayed {
	t.Helper()
	return startIdleRelay(t, time.Minute, text, box...)
}

// startIdleRelay is one that forgets UDP clients which are idle for some time.
func startIdleRelay(t *testing.T, idle time.Duration, text string, box ...netip.Addr) relayed {
	t.Helper()
	ns := newHost(t)
	m, sockets := mustHold(t, ns, text)
	ctx, stop := context.WithCancel(t.Context())
	r := &Relay{Host: ns, Box: box, Mappings: []Mapping{m}, Sockets: sockets, UDPIdle: idle}
	d := relayed{ns, make(chan error, 1), stop}
	go func() { d.done <- r.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-d.done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d relayed) listen(t *testing.T, at netip.AddrPort) net.Listener {
	t.Helper()
	var l net.Listener
	err := d.ns.Do(func() (err error) {
		l, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (d relayed) dial(t *testing.T, network, at string) net.Conn {
	t.Helper()
	var c net.Conn
	err := d.ns.Do(func() (err error) {
		c, err = net.Dial(network, at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { c.Close() })
	return c
}

// TestRelayTCP sends both ways at once and ends one direction first: a server that answers after its client's end of
// file gets to answer.
func TestRelayTCP(t *testing.T) {
	for _, test := range []struct {
		from string
		box  netip.Addr
	}{
		{"127.0.0.1:8080", box4},
		{"[::1]:8080", box6},
		{"[::1]:8080", box4}, // a box without IPv6
	} {
		d := startRelay(t, "8080:90", test.box)
		l := d.listen(t, netip.AddrPortFrom(test.box, 90))
		random := rand.NewChaCha8([32]byte{1})
		up, down := make([]byte, 3<<20), make([]byte, 2<<20)
		random.Read(up)
		random.Read(down)

		var group sync.WaitGroup
		group.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			got, err := io.ReadAll(c) // to the end of file
			if err != nil || sha256.Sum256(got) != sha256.Sum256(up) {
				t.Errorf("%s: the box got %d bytes, %v", test.from, len(got), err)
			}
			if _, err := c.Write(down); err != nil {
				t.Error(err)
			}
		})
		c := d.dial(t, "tcp", test.from)
		if _, err := c.Write(up); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, down) {
			t.Errorf("%s: the client got %d bytes, %v", test.from, len(got), err)
		}
		group.Wait()
	}
}

func TestRelayPassesOnARefusal(t *testing.T) {
	d := startRelay(t, "8080:90", box4) // nobody listens in the box
	err := d.ns.Do(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:8080")
		if err != nil { // the reset may be faster
			return err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		return err
	})
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("dial and read = %v, want %v", err, unix.ECONNRESET)
	}
}

func TestRelayPassesOnAReset(t *testing.T) {
	d := startRelay(t, "8080:90", box4)
	l := d.listen(t, netip.AddrPortFrom(box4, 90))
	c := d.dial(t, "tcp", "127.0.0.1:8080")
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	reset(server.(*net.TCPConn))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read = %v, want %v", err, unix.ECONNRESET)
	}
}

func TestRelayOfARangeKeepsTheOrder(t *testing.T) {
	d := startRelay(t, "8080-8082:90-92", box4)
	l := d.listen(t, netip.AddrPortFrom(box4, 92))
	d.dial(t, "tcp", "127.0.0.1:8082")
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// echo answers each datagram with itself, in upper case.
func (d relayed) echo(t *testing.T, at netip.AddrPort) {
	t.Helper()
	var c net.PacketConn
	err := d.ns.Do(func() (err error) {
		c, err = net.ListenPacket("udp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		buffer := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := c.WriteTo(bytes.ToUpper(buffer[:n]), from); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		c.Close()
		group.Wait()
	})
}

// TestRelayUDP has clients at once, whose replies come from the address that each sent to: a connected socket drops
// any other.
func TestRelayUDP(t *testing.T) {
	for _, test := range []struct {
		box  netip.Addr
		from []string
	}{
		{box4, []string{"127.0.0.1:8080", "127.0.0.2:8080", "127.0.0.1:8080", "[::1]:8080"}},
		{box6, []string{"[::1]:8080", "127.0.0.9:8080"}},
	} {
		d := startRelay(t, "8080:90/udp", test.box)
		d.echo(t, netip.AddrPortFrom(test.box, 90))
		buffer := make([]byte, 100)
		for range 2 {
			for i, at := range test.from {
				c := d.dial(t, "udp", at)
				text := string(rune('a'+i)) + at
				for range 3 {
					if _, err := c.Write([]byte(text)); err != nil {
						t.Fatal(err)
					}
					n, err := c.Read(buffer)
					if want := string(bytes.ToUpper([]byte(text))); err != nil || string(buffer[:n]) != want {
						t.Errorf("%s: reply %q, %v, want %q", at, buffer[:n], err, want)
					}
				}
			}
		}
	}
}

// TestRelayUDPEndsIdleSessions counts the sockets in the namespace.
func TestRelayUDPEndsIdleSessions(t *testing.T) {
	d := startIdleRelay(t, time.Second, "127.0.0.1:8080:90/udp", box4)
	d.echo(t, netip.AddrPortFrom(box4, 90))
	for range 5 {
		c := d.dial(t, "udp", "127.0.0.1:8080")
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	h, err := d.ns.Handle(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	deadline := time.Now().Add(time.Minute)
	for {
		sockets, err := h.SocketDiagUDP(unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		if len(sockets) == 2 { // the held one, and the echo's
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d UDP sockets are open, want 2", len(sockets))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRelayEnds while connections are open.
func TestRelayEnds(t *testing.T) {
	d := startRelay(t, "8080:90", box4)
	l := d.listen(t, netip.AddrPortFrom(box4, 90))
	c := d.dial(t, "tcp", "127.0.0.1:8080")
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	d.stop()
	if err := <-d.done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	d.done <- nil // for the clean-up
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the relay's end = %v", err)
	}
}

func TestRelayRefusesASocketThatNoMappingNames(t *testing.T) {
	ns := newHost(t)
	_, sockets := mustHold(t, ns, "8080:80")
	r := &Relay{Host: ns, Box: []netip.Addr{box4}, Mappings: []Mapping{mustParse(t, "8081:80")}, Sockets: sockets}
	if err := r.Serve(t.Context()); err == nil {
		t.Error("Serve accepts it")
	}
}
