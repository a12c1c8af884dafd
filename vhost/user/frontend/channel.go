package frontend

import (
	"errors"
	"fmt"
	"io"
	"net"

	"tandem/vhost/user"
)

// openChannel gives the back-end a socket for requests of its own.
func (d *Device) openChannel(l *link) error {
	ours, theirs, err := user.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	if err := l.do(user.SetBackendReqFD, nil, int(theirs.Fd())); err != nil {
		ours.Close()
		return err
	}
	d.running.Add(2)
	go func() {
		defer d.running.Done()
		<-l.dead
		ours.Close()
	}()
	go func() {
		defer d.running.Done()
		d.serveChannel(l, ours)
	}()
	return nil
}

// serveChannel carries out the back-end's requests until the channel ends.
func (d *Device) serveChannel(l *link, c *user.Conn) {
	defer c.Close()
	for {
		m, err := c.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				d.report(fmt.Errorf("frontend: back-end's channel: %w", err))
			}
			return
		}
		if err := d.backendAsks(l, c, m); err != nil {
			d.report(fmt.Errorf("frontend: back-end's channel: %w", err))
			return
		}
	}
}

// backendAsks carries out one request. The error is that the channel is of no more
// use.
func (d *Device) backendAsks(l *link, c *user.Conn, m *user.Message) error {
	defer m.CloseFDs()
	r := user.BackendRequest(m.Request)
	_, err := m.DecodeBackend()
	switch {
	case err != nil:
	case r != user.BackendConfigChange:
		err = errors.New("not supported")
	case d.spec.ConfigSize == 0:
		err = errors.New("the configuration is the front-end's")
	}
	result := user.U64(0)
	if err != nil {
		d.report(fmt.Errorf("frontend: refuse %v: %w", r, err))
		result = 1
	}
	if m.WantsAck() && l.protocol.Has(user.ProtocolReplyAck) {
		// Before the change is looked at: to look takes the answer to a request, which
		// a back-end that waits here cannot give.
		if err := c.Answer(m, result); err != nil {
			return err
		}
	}
	if err == nil {
		d.configChanged(l)
	}
	return nil
}
