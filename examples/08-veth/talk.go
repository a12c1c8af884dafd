package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	port     = "7007"
	greeting = "hello"
)

// talk sends a datagram through the pair, and one back.
func talk(in *inside) error {
	fmt.Println("sendto(): a datagram from outside, and its answer")
	if err := in.ask(askListen); err != nil {
		return err
	}
	conn, err := net.Dial("udp4", net.JoinHostPort(host(insideAddress), port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(greeting)); err != nil {
		return err
	}
	if err := in.ask(askReceive); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	fmt.Printf("  outside: %q came back\n", answer[:n])
	if _, err := net.Dial("udp4", net.JoinHostPort("127.0.0.1", port)); !errors.Is(err, unix.ENETUNREACH) {
		return fmt.Errorf("connect to 127.0.0.1: %w, want %w", err, unix.ENETUNREACH)
	}
	fmt.Println("  outside: connect() to 127.0.0.1: network is unreachable: each side has a lo of its own")
	return nil
}

// ear is the socket inside.
type ear struct{ conn net.PacketConn }

func listen() (*ear, error) {
	conn, err := net.ListenPacket("udp4", net.JoinHostPort("0.0.0.0", port))
	return &ear{conn}, err
}

func (e *ear) receive() error {
	if e == nil {
		return errors.New("receive before listen")
	}
	if err := e.conn.SetReadDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	text := make([]byte, 100)
	n, from, err := e.conn.ReadFrom(text)
	if err != nil {
		return err
	}
	sender, _, err := net.SplitHostPort(from.String())
	if err != nil {
		return err
	}
	fmt.Printf("  inside: %q came from %s\n", text[:n], sender)
	_, err = e.conn.WriteTo(append(text[:n], " yourself"...), from)
	return err
}

func host(address string) string {
	ip, _, err := net.ParseCIDR(address)
	if err != nil {
		panic(err) // one of two constants
	}
	return ip.String()
}
