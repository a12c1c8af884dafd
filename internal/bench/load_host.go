package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"tandem/network/netns"
)

// peer is the host's half of the load: it talks to one guest.
type peer struct {
	ns      *netns.NS
	address string
}

// loadLimit is far more than a reading takes.
const loadLimit = 30 * time.Second

func (p peer) dial(what byte) (c *net.TCPConn, err error) {
	err = p.ns.Do(func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(p.address, fmt.Sprint(loadPort)), loadLimit)
		if err == nil {
			c = conn.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err = c.SetDeadline(time.Now().Add(loadLimit)); err == nil {
		_, err = c.Write([]byte{what})
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func readCount(r io.Reader) (n uint64, err error) {
	err = binary.Read(r, binary.LittleEndian, &n)
	return n, err
}

func perSecond(n uint64, since time.Time) float64 { return float64(n) / time.Since(since).Seconds() }

// toGuest is how many MB a second a TCP stream brings into the guest.
func (p peer) toGuest() (float64, error) {
	c, err := p.dial(loadSink)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := make([]byte, 256<<10)
	start := time.Now()
	for time.Since(start) < loadSeconds*time.Second {
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
	}
	if err := c.CloseWrite(); err != nil {
		return 0, err
	}
	n, err := readCount(c)
	return perSecond(n, start) / 1e6, err
}

// fromGuest is how many it brings out of it.
func (p peer) fromGuest() (float64, error) {
	c, err := p.dial(loadSource)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := make([]byte, 256<<10)
	start, n := time.Now(), uint64(0)
	for time.Since(start) < loadSeconds*time.Second {
		got, err := c.Read(b)
		if err != nil {
			return 0, err
		}
		n += uint64(got)
	}
	return perSecond(n, start) / 1e6, nil
}

// roundTrip is how many microseconds a byte takes to the guest and back.
func (p peer) roundTrip() (float64, error) {
	c, err := p.dial(loadEcho)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := []byte{1}
	start, n := time.Now(), 0
	for ; time.Since(start) < loadSeconds*time.Second; n++ {
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / float64(n), nil
}

// packetsToGuest is how many small packets a second arrive in the guest, of all that the host can send.
func (p peer) packetsToGuest() (float64, error) {
	c, err := p.dial(loadPackets)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var to net.Conn
	err = p.ns.Do(func() error {
		to, err = net.Dial("udp", net.JoinHostPort(p.address, fmt.Sprint(loadPort)))
		return err
	})
	if err != nil {
		return 0, err
	}
	defer to.Close()
	b := make([]byte, packetSize)
	start := time.Now()
	for time.Since(start) < loadSeconds*time.Second {
		_, _ = to.Write(b) // a full queue drops it
	}
	took := time.Since(start)
	if _, err := c.Write([]byte{0}); err != nil {
		return 0, err
	}
	n, err := readCount(c)
	return float64(n) / took.Seconds(), err
}

// packetsFromGuest is the other direction.
func (p peer) packetsFromGuest() (float64, error) {
	var from *net.UDPConn
	err := p.ns.Do(func() (err error) {
		from, err = net.ListenUDP("udp4", &net.UDPAddr{})
		return err
	})
	if err != nil {
		return 0, err
	}
	defer from.Close()
	c, err := p.dial(loadFlood)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := binary.Write(c, binary.LittleEndian, uint16(from.LocalAddr().(*net.UDPAddr).Port)); err != nil {
		return 0, err
	}
	b := make([]byte, 2048)
	if err := from.SetReadDeadline(time.Now().Add(loadLimit)); err != nil {
		return 0, err
	}
	if _, _, err := from.ReadFromUDPAddrPort(b); err != nil {
		return 0, err
	}
	start, n := time.Now(), uint64(0)
	if err := from.SetReadDeadline(start.Add(loadSeconds * time.Second)); err != nil {
		return 0, err
	}
	for {
		if _, _, err := from.ReadFromUDPAddrPort(b); errors.Is(err, os.ErrDeadlineExceeded) {
			return perSecond(n, start), nil
		} else if err != nil {
			return 0, err
		}
		n++
	}
}

// disk gives a function that has the guest use its disk, and gives MB a second, or requests a second.
func disk(what byte, unit float64) func(peer) (float64, error) {
	return func(p peer) (float64, error) {
		c, err := p.dial(what)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		n, err := readCount(c)
		return float64(n) / loadSeconds / unit, err
	}
}
