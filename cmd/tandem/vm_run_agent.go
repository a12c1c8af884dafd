package main

import (
	"io"
	"net"
	"slices"
	"sync"

	"tandem/guest/config"
	"tandem/virtio"
	"tandem/virtio/vsock"
	"tandem/vmm"
)

// The agent in the guest is reached by the first of these that the guest's kernel has a driver for:
//
//   - a socket: the guest connects to agentVsockPort of its host when the agent is ready;
//   - a port of a virtio-serial device: agentPortName;
//   - the second serial line: agentPort, where each byte costs an exit.
const (
	vsockDriver    = "vmw_vsock_virtio_transport"
	agentVsockPort = 0x74616e64 // "tand"
)

// settleAgent chooses the way to the agent, given the modules that the kernel lacks, and gives the driver for it.
func (r *recipe) settleAgent(a *config.Agent, missing []string) (driver string) {
	kernelsOwn := r.Vsock != nil && r.Vsock.Vhost // which listens where everybody on the host can
	switch {
	case !kernelsOwn && !slices.Contains(missing, vsockDriver):
		r.AgentVsock, a.Port = true, config.VsockPort(agentVsockPort)
		return vsockDriver
	case !slices.Contains(missing, consoleDriver):
		r.AgentPort, a.Port = true, agentPortName
		return consoleDriver
	}
	return ""
}

// agentListener waits for the guest at the machine's socket device, and is the stream between the two from then on.
type agentListener struct {
	once     sync.Once
	accepted chan struct{}
	conn     net.Conn
	err      error
}

func newAgentListener() *agentListener { return &agentListener{accepted: make(chan struct{})} }

// settle ends the wait. Only the first call counts.
func (l *agentListener) settle(conn net.Conn, err error) {
	l.once.Do(func() {
		l.conn, l.err = conn, err
		close(l.accepted)
	})
}

// accept takes the guest's first connection. There is no second: a machine has one command.
func (l *agentListener) accept(device *vsock.Device) error {
	listener, err := device.Listen(agentVsockPort)
	if err != nil {
		return err
	}
	go func() {
		conn, err := listener.Accept()
		l.settle(conn, err)
		listener.Close()
	}()
	return nil
}

// Read implements io.ReadWriteCloser, as do Write and Close: both wait for the guest.
func (l *agentListener) Read(p []byte) (int, error) {
	if <-l.accepted; l.err != nil {
		return 0, l.err
	}
	return l.conn.Read(p)
}

func (l *agentListener) Write(p []byte) (int, error) {
	if <-l.accepted; l.err != nil {
		return 0, l.err
	}
	return l.conn.Write(p)
}

// Close ends the stream, or the wait for it.
func (l *agentListener) Close() error {
	l.settle(nil, net.ErrClosed)
	if l.conn != nil {
		return l.conn.Close()
	}
	return nil
}

// plugVsock plugs in the socket device that the user asked for, or that the agent needs.
func (r *recipe) plugVsock(spec *vmm.Spec, agent *agentListener, report func(device string, err error)) {
	if r.Vsock == nil && !r.AgentVsock {
		return
	}
	want := vsockSpec{CID: vsock.MinGuestCID}
	if r.Vsock != nil {
		want = *r.Vsock
	}
	d := want.device(r.Transport, report)
	if open := d.Open; r.AgentVsock {
		d.Open = func() (virtio.Device, error) {
			device, err := open()
			if err == nil {
				err = agent.accept(device.(*vsock.Device))
			}
			return device, err
		}
	}
	spec.Devices = append(spec.Devices, d)
}

// agentStream is the wire between the agent's client and the guest; guest is its other end, where that is not the guest's
// own connection.
func (g *guestRun) agentStream() (host io.ReadWriteCloser, guest io.ReadWriteCloser, listener *agentListener) {
	host, guest = newByteStream()
	if g.AgentVsock {
		listener = newAgentListener()
		host = listener
	}
	return host, guest, listener
}
