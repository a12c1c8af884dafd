package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxFrame is longer than a link's frames are: DHCP's are of a few hundred bytes, and what is cut off is none.
const maxFrame = 2048

// toServers passes on frames of IPv4 and UDP, unfragmented, to the servers' port. It is run on each frame of the link, in
// the kernel.
var toServers = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 8},
	bpf.LoadAbsolute{Off: 23, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
	bpf.LoadAbsolute{Off: 20, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
	bpf.LoadMemShift{Off: 14},
	bpf.LoadIndirect{Off: 16, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: serverPort, SkipTrue: 1},
	bpf.RetConstant{Val: maxFrame},
	bpf.RetConstant{Val: 0},
}

// Answerer answers on one link.
type Answerer struct {
	lease Lease
	file  *os.File
	done  chan struct{}
}

// Start begins to answer the machine behind a link, in this thread's network namespace. It needs CAP_NET_RAW.
func Start(link string, lease Lease) (*Answerer, error) {
	if !lease.Address.Addr().Is4() || !lease.Router.Is4() || len(lease.MAC) != macLength {
		return nil, fmt.Errorf("dhcp: lease %v of %v, router %v: want addresses of IPv4 and of Ethernet", lease.Address, lease.MAC, lease.Router)
	}
	file, err := listen(link)
	if err != nil {
		return nil, fmt.Errorf("dhcp: listen on %s: %w", link, err)
	}
	a := &Answerer{lease: lease, file: file, done: make(chan struct{})}
	go a.serve()
	return a, nil
}

func listen(link string) (*os.File, error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil, err
	}
	// Protocol 0: nothing comes before the filter is there and the socket bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	code, err := bpf.Assemble(toServers)
	if err == nil {
		filter := make([]unix.SockFilter, len(code))
		for i, c := range code {
			filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}
	if err == nil {
		// Of all protocols: what is for one is handed out after the bridge has taken the frame from its port.
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00 // in network order
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), link), nil
}

func (a *Answerer) serve() {
	defer close(a.done)
	buf := make([]byte, maxFrame)
	for {
		n, err := a.file.Read(buf)
		switch {
		case errors.Is(err, unix.ENETDOWN): // the link is down for now, and the error is told once
			continue
		case err != nil:
			return // closed, or the link is gone
		}
		if answer := a.lease.Answer(buf[:n]); answer != nil {
			// A link whose queue is full loses it, as the network may; the machine asks again.
			_, _ = a.file.Write(answer)
		}
	}
}

// Close ends it.
func (a *Answerer) Close(ctx context.Context) error {
	err := a.file.SetReadDeadline(time.Unix(1, 0))
	select {
	case <-a.done:
	case <-ctx.Done():
	}
	return errors.Join(err, a.file.Close())
}
