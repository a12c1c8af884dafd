package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// loadPort is where the guest's half of this program listens.
const loadPort = 9000

// loadReady is what it prints then.
const loadReady = "load-of-the-bench"

// What a connection to it is for: its first byte.
const (
	loadSink       = 's' // the guest reads all that comes, and says how many bytes it was
	loadSource     = 'g' // the guest sends until nobody reads
	loadEcho       = 'e' // the guest gives each byte back
	loadPackets    = 'p' // the guest counts UDP packets, and says how many came in a second
	loadFlood      = 'f' // the guest sends UDP packets to the port that the connection names
	loadRandomRead = 'r' // the guest reads blocks of its disk, and says how many
	loadSequential = 'q'
	loadWrite      = 'w'
	loadCommand    = 'c' // the guest runs a command, and gives what it printed
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
	in, err := quieten(c, loadLimit)
	if err != nil {
		return err
	}
	what := make([]byte, 1)
	if err := in.readByte(what); err != nil {
		return err
	}
	value := 0.0
	switch what[0] {
	case loadSink:
		value, err = sink(in)
	case loadSource:
		b := make([]byte, 256<<10)
		for {
			if _, err := in.Write(b); err != nil {
				return nil //nolint:nilerr // it is how the host ends it
			}
		}
	case loadEcho:
		for in.readByte(what) == nil {
			if _, err := in.Write(what); err != nil {
				return err
			}
		}
		return nil
	case loadPackets:
		value, err = countPackets(packets, in)
	case loadFlood:
		return flood(c, packets, in)
	case loadRandomRead, loadSequential, loadWrite:
		value, err = useDisk(what[0])
	case loadCommand:
		return runCommand(c)
	default:
		return fmt.Errorf("%q means nothing", what)
	}
	if err != nil {
		return err
	}
	return binary.Write(in, binary.LittleEndian, value)
}

// sink reads all that comes, and counts the bytes.
func sink(in quiet) (float64, error) {
	b, total := make([]byte, 256<<10), 0
	for {
		n, err := in.Read(b)
		if err != nil || n == 0 {
			return float64(total), err
		}
		total += n
	}
}

// countPackets gives how many packets a second came, from the first to the last before a byte comes.
func countPackets(packets *net.UDPConn, in quiet) (float64, error) {
	const pause = 100 * time.Millisecond // is when to look whether it came
	from, err := quieten(packets, pause)
	if err != nil {
		return 0, err
	}
	b := make([]byte, 2048)
	var first, last time.Time
	n := 0
	for {
		_, err := from.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if in.over() {
				return float64(n-1) / last.Sub(first).Seconds(), nil
			}
			continue
		case err != nil:
			return 0, err
		}
		if last = time.Now(); n == 0 {
			first = last
		}
		n++
	}
}

// flood sends packets until the connection ends.
func flood(c *net.TCPConn, packets *net.UDPConn, in quiet) error {
	var port uint16
	if err := binary.Read(in, binary.LittleEndian, &port); err != nil {
		return err
	}
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: c.RemoteAddr().(*net.TCPAddr).IP, Port: int(port)})
	if err != nil {
		return err
	}
	defer conn.Close()
	to, err := quieten(conn, loadLimit)
	if err != nil {
		return err
	}
	b := make([]byte, packetSize)
	const look = 64 // packets between two looks whether it is over
	for !in.over() {
		for range look {
			_, _ = to.Write(b) // a full queue drops it: what arrives counts
		}
	}
	return nil
}

// answer is what a command came to.
type answer struct {
	Output []byte // what it wrote to both of its outputs
	Error  string // why it failed, if it did
}

// runCommand reads an argument vector and runs it.
func runCommand(c io.ReadWriter) error {
	var argv []string
	if err := json.NewDecoder(c).Decode(&argv); err != nil {
		return err
	}
	if len(argv) == 0 {
		return errors.New("run a command: it is empty")
	}
	var a answer
	var err error
	if a.Output, err = exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		a.Error = err.Error()
	}
	return json.NewEncoder(c).Encode(a)
}

// benchDisk is the guest's disk.
const benchDisk = "/dev/vda"

// Sizes of the disk's requests.
const (
	randomBlock     = 4 << 10
	sequentialBlock = 256 << 10
)

// useDisk makes requests one after the other, past the page cache, for the time of a reading, and counts their bytes.
func useDisk(what byte) (bytes float64, err error) {
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
	disk := quiet{fd: int(f.Fd())}
	at := int64(0)
	for end := time.Now().Add(loadSeconds * time.Second); time.Now().Before(end); {
		if what == loadWrite {
			_, err = disk.WriteAt(b, at)
		} else {
			_, err = disk.ReadAt(b, at)
		}
		if err != nil {
			return bytes, err
		}
		bytes += float64(block)
		if at += block; what != loadSequential {
			at = rand.Int64N(size/block) * block
		} else if at+block > size {
			at = 0
		}
	}
	return bytes, nil
}
