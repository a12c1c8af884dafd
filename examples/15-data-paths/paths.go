package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	stdnet "net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"tandem/vhost/kernel"
	"tandem/vhost/user/backend"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/net"
)

// A path is one way to serve the card's queues.
type path struct {
	name     string
	direct   bool // kicks are handled in the thread that makes them
	optional bool // not every host has it
	// open makes the card at the wire's tap. finish ends what serves it, after the card is closed, and gives its stamps.
	open func(w *wire, r *recorder) (card *net.Device, finish func() ([]hops, error), err error)
}

var paths = []path{
	{name: "exit", direct: true, open: here},
	{name: "eventfd", open: here},
	{name: "vhost", optional: true, open: inKernel},
	{name: "vhost-user", open: elsewhere},
}

var mac = stdnet.HardwareAddr{0x02, 0, 0, 0, 0, 1}

// here is a card that serves its queues itself: in a thread of its own, or in the driver's.
func here(w *wire, r *recorder) (*net.Device, func() ([]hops, error), error) {
	tap, err := net.NewTap(w.tap)
	if err != nil {
		return nil, nil, err
	}
	card, err := net.New(net.Spec{MAC: mac, Backend: tap})
	return card, func() ([]hops, error) { return r.take(), nil }, err
}

// inKernel hands them to a thread of the kernel's, which stamps nothing.
func inKernel(w *wire, _ *recorder) (*net.Device, func() ([]hops, error), error) {
	tap, err := net.NewTap(w.tap)
	if err != nil {
		return nil, nil, err
	}
	server, err := kernel.OpenNet(kernel.NetSpec{Taps: []*os.File{w.tap}})
	if err != nil {
		return nil, nil, errors.Join(err, tap.Close())
	}
	card, err := net.New(net.Spec{MAC: mac, Backend: tap, Server: server})
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	return card, func() ([]hops, error) { return nil, server.Close() }, nil
}

const (
	serveArg   = "serve"
	socketFile = 3
	tapFile    = 4
	stampsFile = 5
)

// elsewhere hands them to another process, which gets the tap.
func elsewhere(w *wire, _ *recorder) (*net.Device, func() ([]hops, error), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "front-end"), os.NewFile(uintptr(pair[1]), "back-end")
	defer theirs.Close()
	stamps, stampsEnd, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	defer stampsEnd.Close()
	process := exec.Command(self, serveArg)
	process.Stderr = os.Stderr
	process.ExtraFiles = []*os.File{theirs, w.tap, stampsEnd}
	if err := process.Start(); err != nil {
		return nil, nil, errors.Join(err, ours.Close(), stamps.Close())
	}
	var server *frontend.Device
	finish := func() ([]hops, error) {
		var list []hops
		if server != nil {
			server.Close() // upon which the other process ends
		}
		stampsEnd.Close()
		err := gob.NewDecoder(stamps).Decode(&list)
		return list, errors.Join(err, process.Wait(), stamps.Close())
	}
	server, err = frontend.Open(context.Background(), frontend.Spec{
		Type: virtio.TypeNet, Queues: 2, QueueSize: net.QueueSize, Once: true,
		Dial: func(context.Context) (*stdnet.UnixConn, error) {
			defer ours.Close()
			conn, err := stdnet.FileConn(ours)
			if err != nil {
				return nil, err
			}
			return conn.(*stdnet.UnixConn), nil
		},
	})
	if err == nil {
		var card *net.Device
		if card, err = net.New(net.Spec{MAC: mac, Server: server}); err == nil {
			return card, finish, nil
		}
	}
	ours.Close()
	_, finishErr := finish()
	return nil, nil, errors.Join(err, finishErr)
}

// serve is the other process: a card of the same kind, at the same tap, whose queues are in memory that the first process
// shares. It says what it has stamped when the connection is closed.
func serve() error {
	if err := unix.SetNonblock(tapFile, true); err != nil {
		return err
	}
	tap, err := net.NewTap(os.NewFile(tapFile, "tap0"))
	if err != nil {
		return err
	}
	card, err := net.New(net.Spec{MAC: mac, Backend: tap})
	if err != nil {
		return err
	}
	defer card.Close()
	r := &recorder{}
	server, err := backend.New(card, backend.Options{Observer: r})
	if err != nil {
		return err
	}
	defer server.Close()
	socket := os.NewFile(socketFile, "back-end")
	conn, err := stdnet.FileConn(socket)
	socket.Close()
	if err != nil {
		return err
	}
	if err := server.ServeConn(conn.(*stdnet.UnixConn)); err != nil {
		return fmt.Errorf("the other process: %w", err)
	}
	return gob.NewEncoder(os.NewFile(stampsFile, "stamps")).Encode(r.take())
}
