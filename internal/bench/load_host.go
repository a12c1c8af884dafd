package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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

// ask opens a connection to the guest, whose calls are quiet.
func (p peer) ask(what byte) (*net.TCPConn, quiet, error) {
	c, err := p.dial(what)
	if err != nil {
		return nil, quiet{}, err
	}
	q, err := quieten(c, loadLimit)
	if err != nil {
		return nil, quiet{}, errors.Join(err, c.Close())
	}
	return c, q, nil
}

func readValue(r io.Reader) (value float64, err error) {
	err = binary.Read(r, binary.LittleEndian, &value)
	return value, err
}

// toGuest is how many MB a second a TCP stream brings into the guest.
func (p peer) toGuest() (float64, error) {
	c, q, err := p.ask(loadSink)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := make([]byte, 256<<10)
	start := time.Now()
	for time.Since(start) < loadSeconds*time.Second {
		if _, err := q.Write(b); err != nil {
			return 0, err
		}
	}
	if err := c.CloseWrite(); err != nil {
		return 0, err
	}
	n, err := readValue(q)
	return n / time.Since(start).Seconds() / 1e6, err
}

// fromGuest is how many it brings out of it.
func (p peer) fromGuest() (float64, error) {
	c, q, err := p.ask(loadSource)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := make([]byte, 256<<10)
	start, n := time.Now(), 0
	for time.Since(start) < loadSeconds*time.Second {
		got, err := q.Read(b)
		if err != nil {
			return 0, err
		}
		n += got
	}
	return float64(n) / time.Since(start).Seconds() / 1e6, nil
}

// roundTrip is how many microseconds a byte takes to the guest and back.
func (p peer) roundTrip() (float64, error) {
	c, q, err := p.ask(loadEcho)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := []byte{1}
	start, n := time.Now(), 0
	for ; time.Since(start) < loadSeconds*time.Second; n++ {
		if _, err := q.Write(b); err != nil {
			return 0, err
		}
		if err := q.readByte(b); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / float64(n), nil
}

// packetsToGuest is how many small packets a second arrive in the guest, of all that the host can send.
func (p peer) packetsToGuest() (float64, error) {
	c, q, err := p.ask(loadPackets)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var conn *net.UDPConn
	err = p.ns.Do(func() error {
		conn, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(p.address), Port: loadPort})
		return err
	})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	to, err := quieten(conn, loadLimit)
	if err != nil {
		return 0, err
	}
	b := make([]byte, packetSize)
	for start := time.Now(); time.Since(start) < loadSeconds*time.Second; {
		_, _ = to.Write(b) // a full queue drops it
	}
	if _, err := q.Write(b[:1]); err != nil {
		return 0, err
	}
	return readValue(q)
}

// packetsFromGuest is the other direction.
func (p peer) packetsFromGuest() (float64, error) {
	var conn *net.UDPConn
	err := p.ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{})
		return err
	})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	from, err := quieten(conn, loadLimit)
	if err != nil {
		return 0, err
	}
	c, q, err := p.ask(loadFlood)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := binary.Write(q, binary.LittleEndian, uint16(conn.LocalAddr().(*net.UDPAddr).Port)); err != nil {
		return 0, err
	}
	b := make([]byte, 2048)
	if _, err := from.Read(b); err != nil {
		return 0, err
	}
	start, n := time.Now(), 0
	for ; time.Since(start) < loadSeconds*time.Second; n++ {
		if _, err := from.Read(b); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// run has the guest run a command, and gives what that wrote.
func (p peer) run(argv []string) ([]byte, error) {
	c, err := p.dial(loadCommand)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(argv); err != nil {
		return nil, err
	}
	var a answer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return nil, fmt.Errorf("%s: its answer: %w", argv[0], err)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("%s: %s: %s", argv[0], a.Error, tail(string(a.Output)))
	}
	return a.Output, nil
}

// disk gives a function that has the guest use its disk, and gives MB a second, or requests a second.
func disk(what byte, unit float64) func(peer) (float64, error) {
	return func(p peer) (float64, error) {
		c, err := p.dial(what)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		n, err := readValue(c)
		return n / loadSeconds / unit, err
	}
}
