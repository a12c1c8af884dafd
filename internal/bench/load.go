package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loadPort is where the guest's half of this program listens.
const loadPort = 9000

// loadReady is what it prints then.
const loadReady = "load-of-the-bench"

// What a connection to it is for: its first byte.
const (
	loadSink       = 's' // the guest reads all that comes, and says how much it was
	loadSource     = 'g' // the guest sends until nobody reads
	loadEcho       = 'e' // the guest gives each byte back
	loadPackets    = 'p' // the guest counts UDP packets, and says how many came
	loadFlood      = 'f' // the guest sends UDP packets to the port that the connection names
	loadRandomRead = 'r' // the guest reads blocks of its disk, and says how many
	loadSequential = 'q'
	loadWrite      = 'w'
)

// packetSize is a UDP payload that makes a small frame.
const packetSize = 18

// loadSeconds is how long one reading takes.
const loadSeconds = 1

// serveLoad is the guest's half. It ends with the guest.
func serveLoad() error {
	l, packets, err := listenLoad()
	if err != nil {
		return err
	}
	fmt.Println(loadReady)
	return serveAll(l, packets)
}

func listenLoad() (*net.TCPListener, *net.UDPConn, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: loadPort})
	if err != nil {
		return nil, nil, err
	}
	packets, err := net.ListenUDP("udp", &net.UDPAddr{Port: loadPort})
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, packets, nil
}

func serveAll(l *net.TCPListener, packets *net.UDPConn) error {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := serveOne(c, packets); err != nil {
				fmt.Println("load:", err)
			}
		}()
	}
}

func serveOne(c *net.TCPConn, packets *net.UDPConn) error {
	in := bufio.NewReader(c)
	what, err := in.ReadByte()
	if err != nil {
		return err
	}
	count := uint64(0)
	switch what {
	case loadSink:
		n, err := io.Copy(io.Discard, in)
		if err != nil {
			return err
		}
		count = uint64(n)
	case loadSource:
		b := make([]byte, 256<<10)
		for {
			if _, err := c.Write(b); err != nil {
				return nil //nolint:nilerr // it is how the host ends it
			}
		}
	case loadEcho:
		_, _ = io.Copy(c, in)
		return nil
	case loadPackets:
		count, err = countPackets(packets, in)
	case loadFlood:
		return flood(c, packets, in)
	case loadRandomRead, loadSequential, loadWrite:
		count, err = useDisk(what)
	default:
		return fmt.Errorf("%q means nothing", what)
	}
	if err != nil {
		return err
	}
	return binary.Write(c, binary.LittleEndian, count)
}

// countPackets counts until a byte comes.
func countPackets(packets *net.UDPConn, in io.Reader) (n uint64, err error) {
	if err := packets.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	go func() {
		_, _ = in.Read(make([]byte, 1))
		_ = packets.SetReadDeadline(time.Now())
	}()
	b := make([]byte, 2048)
	for {
		if _, _, err := packets.ReadFromUDPAddrPort(b); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return n, nil
			}
			return n, err
		}
		n++
	}
}

// flood sends packets until the connection ends.
func flood(c *net.TCPConn, packets *net.UDPConn, in io.Reader) error {
	var port uint16
	if err := binary.Read(in, binary.LittleEndian, &port); err != nil {
		return err
	}
	to := netip.AddrPortFrom(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), port)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = in.Read(make([]byte, 1))
	}()
	b := make([]byte, packetSize)
	for {
		select {
		case <-over:
			return nil
		default:
			_, _ = packets.WriteToUDPAddrPort(b, to) // a full queue drops it: what arrives counts
		}
	}
}

// benchDisk is the guest's disk.
const benchDisk = "/dev/vda"

// Sizes of the disk's requests.
const (
	randomBlock     = 4 << 10
	sequentialBlock = 256 << 10
)

// useDisk makes requests one after the other, past the page cache, for the time of a reading, and counts their bytes.
func useDisk(what byte) (bytes uint64, err error) {
	f, err := os.OpenFile(benchDisk, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	block := int64(randomBlock)
	if what == loadSequential {
		block = sequentialBlock
	}
	// A mapping begins with a page, as O_DIRECT wants it.
	b, err := unix.Mmap(-1, 0, int(block), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(b)
	at := int64(0)
	for end := time.Now().Add(loadSeconds * time.Second); time.Now().Before(end); {
		if what == loadWrite {
			_, err = f.WriteAt(b, at)
		} else {
			_, err = f.ReadAt(b, at)
		}
		if err != nil {
			return bytes, err
		}
		bytes += uint64(block)
		if at += block; what != loadSequential {
			at = rand.Int64N(size/block) * block
		} else if at+block > size {
			at = 0
		}
	}
	return bytes, nil
}
