// Vsock is both ends of socket connections between a guest and its host: the packets that a guest's driver sees, by hand, and
// the Unix sockets that programs of the host use.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const patience = 10 * time.Second

func run() (err error) {
	dir, err := os.MkdirTemp("", "vsock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "v.sock")
	g, err := newGuest(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := toGuest(g, path); err != nil {
		return fmt.Errorf("a program connects to the guest: %w", err)
	}
	if err := toHost(g, path); err != nil {
		return fmt.Errorf("the guest connects to a program: %w", err)
	}
	return toNobody(g)
}

// program is a program of the host's.
type program struct{ net.Conn }

func (p *program) write(text string) error {
	fmt.Printf("  program writes %q\n", text)
	_, err := p.Write([]byte(text))
	return err
}

func (p *program) read(n int) error {
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	b := make([]byte, n)
	n, err := p.Read(b)
	if err != nil {
		return err
	}
	fmt.Printf("  program reads %q\n", b[:n])
	return nil
}

// toGuest is a connection from a program to port 1024 of the guest.
func toGuest(g *guest, path string) error {
	fmt.Println("A program of the host's connects to port 1024 of guest 3:")
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	p := &program{conn}
	if err := p.write("CONNECT 1024\n"); err != nil {
		return err
	}
	request, err := g.receive(opRequest)
	if err != nil {
		return err
	}
	const room = 8
	back := request.back()
	back.bufAlloc = room
	if err := g.send(back, opResponse, ""); err != nil {
		return err
	}
	if err := p.read(100); err != nil {
		return err
	}

	fmt.Printf("The guest has said that it keeps %d bytes, and the program writes more:\n", room)
	if err := p.write("as much as it wants"); err != nil {
		return err
	}
	for range 2 {
		data, err := g.receive(opData)
		if err != nil {
			return err
		}
		back.fwdCnt += data.length
		if data.length < room {
			return fmt.Errorf("%d bytes came, want %d", data.length, room)
		}
		if _, err := g.receive(opCreditRequest); err != nil {
			return err
		}
		fmt.Printf("  the guest's reader takes %d bytes\n", data.length)
		if err := g.send(back, opCreditUpdate, ""); err != nil {
			return err
		}
	}
	last, err := g.receive(opData)
	if err != nil {
		return err
	}
	back.fwdCnt += last.length
	if err := g.send(back, opData, "thank you"); err != nil {
		return err
	}
	if err := p.read(100); err != nil {
		return err
	}

	fmt.Println("The program is done:")
	if err := conn.Close(); err != nil {
		return err
	}
	if _, err := g.receive(opShutdown); err != nil {
		return err
	}
	return g.send(back, opReset, "")
}

// toHost is a connection from the guest to port 52 of the host.
func toHost(g *guest, path string) error {
	fmt.Println("The guest connects to port 52 of the host, where a program listens, at the socket v.sock_52:")
	l, err := net.Listen("unix", path+"_52")
	if err != nil {
		return err
	}
	defer l.Close()
	h := header{srcCID: guestCID, dstCID: hostCID, srcPort: 5000, dstPort: 52, bufAlloc: 65536}
	if err := g.send(h, opRequest, ""); err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	p := &program{conn}
	if _, err := g.receive(opResponse); err != nil {
		return err
	}
	if err := g.send(h, opData, "hello"); err != nil {
		return err
	}
	if err := p.read(100); err != nil {
		return err
	}
	h.flags = shutBoth
	if err := g.send(h, opShutdown, ""); err != nil {
		return err
	}
	if _, err := g.receive(opReset); err != nil {
		return err
	}
	if err := p.read(1); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the program does not read the end of the file: %w", err)
	}
	fmt.Println("  program reads the end of the file")
	return nil
}

// toNobody is a request for a port where nobody listens.
func toNobody(g *guest) error {
	fmt.Println("The guest connects to port 53, where nobody does:")
	if err := g.send(header{srcCID: guestCID, dstCID: hostCID, srcPort: 5001, dstPort: 53}, opRequest, ""); err != nil {
		return err
	}
	_, err := g.receive(opReset)
	return err
}
