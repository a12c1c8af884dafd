package frontend

import (
	"errors"
	"fmt"
	"os"

	"tandem/internal/eventfd"
	"tandem/vhost"
	"tandem/vhost/user"
	"tandem/virtio"
	"tandem/virtio/memory"
)

// life is the time from Activate to Reset. It outlasts connections.
type life struct {
	*virtio.Activation
	rings []*ring       // by queue; nil for those that the back-end does not serve
	error *eventfd.FD   // the back-end signals it when it cannot go on
	done  chan struct{} // closed when nobody waits for that any more
}

// ring is a queue that the back-end serves.
type ring struct {
	virtio.Queue
	call     *vhost.Call
	disabled bool
}

func newRing(q virtio.Queue) (*ring, error) {
	call, err := vhost.NewCall(q.Config().Interrupt)
	if err != nil {
		return nil, err
	}
	return &ring{Queue: q, call: call}, nil
}

func newLife(a *virtio.Activation) (*life, error) {
	e, err := eventfd.New()
	if err != nil {
		return nil, err
	}
	l := &life{Activation: a, rings: make([]*ring, len(a.Queues)), error: e, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		if _, err := e.Wait(); err == nil {
			a.Fail(fmt.Errorf("frontend: %w", ErrFailed))
		}
	}()
	for i, q := range a.Queues {
		if q.Queue == nil {
			continue
		}
		if l.rings[i], err = newRing(q); err != nil {
			l.end()
			return nil, err
		}
	}
	return l, nil
}

// end gives back what the life holds. No back-end serves its rings any more.
func (l *life) end() {
	l.error.Close()
	<-l.done
	for _, r := range l.rings {
		if r != nil {
			r.call.Close()
		}
	}
}

// Activate implements virtio.Device.
func (d *Device) Activate(a *virtio.Activation) error {
	if len(a.Queues) > d.spec.Queues {
		return fmt.Errorf("frontend: activate %v: %d queues, want at most %d", d.spec.Type, len(a.Queues), d.spec.Queues)
	}
	if _, err := memoryTable(a.Memory); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	life, err := newLife(a)
	if err != nil {
		return err
	}
	d.life = life
	if d.link == nil {
		if d.spec.Once {
			err = ErrLost
		} // else the next back-end starts it
	} else if err = d.startAll(d.link, false); err != nil {
		d.link.close() // what it has started, it stops
		if errors.Is(err, ErrLost) && !d.spec.Once {
			d.report(err)
			err = nil
		}
	}
	if err != nil {
		life.end()
		d.life = nil
		return fmt.Errorf("frontend: activate %v: %w", d.spec.Type, err)
	}
	return nil
}

// Reset implements virtio.Device. If the back-end does not answer, the connection is
// given up: the protocol has a back-end stop then. (One that goes on all the same
// cannot be kept from guest memory: it has it mapped.)
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life == nil {
		return
	}
	if l := d.link; l != nil {
		if err := d.stopAll(l); err != nil {
			l.close()
			d.report(fmt.Errorf("frontend: reset %v: %w", d.spec.Type, err))
		} else if err := d.refreshConfig(l); err != nil {
			d.report(err)
		}
	}
	d.life.end()
	d.life = nil
	// Nothing is in flight: the next life begins with a new area.
	d.dropInflight()
}

func (d *Device) dropInflight() {
	if d.inflight != nil {
		d.inflight.Close()
		d.inflight = nil
	}
}

// startAll has the back-end serve the rings. again tells that another one did
// before, which went away in the midst of it.
func (d *Device) startAll(l *link, again bool) error {
	if err := d.checkLog(l); err != nil {
		return err
	}
	if err := l.do(user.SetFeatures, user.U64(d.agreed(l))); err != nil {
		return err
	}
	if l.protocol.Has(user.ProtocolStatus) {
		const started = virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK | virtio.StatusDriverOK
		if err := l.do(user.SetStatus, user.U64(started)); err != nil {
			return err
		}
	}
	if err := sendMemory(l, d.life.Memory); err != nil {
		return err
	}
	if err := d.sendLog(l); err != nil {
		return err
	}
	if err := d.shareInflight(l); err != nil {
		return err
	}
	for i, r := range d.life.rings {
		if r == nil {
			continue
		}
		base := r.Config().Start
		if again {
			base = r.UsedIndex()
		}
		if err := d.startRing(l, i, r, base); err != nil {
			return fmt.Errorf("ring %d: %w", i, err)
		}
	}
	if !again {
		return nil
	}
	for _, r := range d.life.rings {
		if r == nil {
			continue
		}
		// The back-end that is gone may have taken a kick and not looked, or have
		// answered and not called.
		_ = r.Kick.Signal()
		r.Config().Interrupt.Signal()
	}
	return nil
}

// startRing hands one ring over.
func (d *Device) startRing(l *link, i int, r *ring, base uint16) error {
	addr, err := d.address(i, r)
	if err != nil {
		return err
	}
	index := uint32(i)
	fd := user.VringFD{Index: uint8(i)}
	for _, m := range []struct {
		request user.Request
		payload user.Payload
		fds     []int
	}{
		{user.SetVringNum, user.VringState{Index: index, Num: uint32(r.Config().Size)}, nil},
		{user.SetVringBase, user.VringState{Index: index, Num: uint32(base)}, nil},
		{user.SetVringAddr, addr, nil},
		{user.SetVringErr, fd, []int{d.life.error.Fd()}},
		{user.SetVringCall, fd, []int{r.call.Event().Fd()}},
		{user.SetVringKick, fd, []int{r.Kick.Fd()}},
	} {
		if err := l.do(m.request, m.payload, m.fds...); err != nil {
			return err
		}
	}
	if r.disabled {
		return nil
	}
	return d.enable(l, i, true)
}

// enable enables or disables a ring; without protocol features all are enabled.
func (d *Device) enable(l *link, i int, on bool) error {
	if l.features&(1<<user.FeatureProtocol) == 0 {
		return nil
	}
	state := user.VringState{Index: uint32(i)}
	if on {
		state.Num = 1
	}
	return l.do(user.SetVringEnable, state)
}

// address is where a ring is in this process.
func (d *Device) address(i int, r *ring) (user.VringAddr, error) {
	c := r.Config()
	addr := user.VringAddr{Index: uint32(i), LogGuest: c.Used}
	if d.log != nil {
		addr.Flags = user.VringLog
	}
	for _, a := range []struct {
		gpa uint64
		to  *uint64
	}{{c.Desc, &addr.Desc}, {c.Avail, &addr.Avail}, {c.Used, &addr.Used}} {
		b, err := d.life.Memory.Slice(a.gpa, 1)
		if err != nil {
			return addr, err
		}
		*a.to = vhost.Address(b)
	}
	return addr, nil
}

// stopAll takes the rings back. The back-end answers when it has stopped.
func (d *Device) stopAll(l *link) error {
	for i, r := range d.life.rings {
		if r == nil {
			continue
		}
		if err := d.stopRing(l, i); err != nil {
			return err
		}
	}
	switch {
	case l.protocol.Has(user.ProtocolStatus):
		return l.do(user.SetStatus, user.U64(0))
	case l.protocol.Has(user.ProtocolResetDevice):
		return l.do(user.ResetDevice, nil)
	}
	return nil
}

func (d *Device) stopRing(l *link, i int) error {
	if err := d.enable(l, i, false); err != nil {
		return err
	}
	_, _, err := l.call(user.GetVringBase, user.VringState{Index: uint32(i)})
	return err
}

// StopQueue implements virtio.QueueResetter.
func (d *Device) StopQueue(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life == nil || i >= len(d.life.rings) || d.life.rings[i] == nil {
		return
	}
	if l := d.link; l != nil {
		if err := d.stopRing(l, i); err != nil {
			l.close()
			d.report(fmt.Errorf("frontend: stop queue %d of %v: %w", i, d.spec.Type, err))
		}
	}
	d.life.rings[i].call.Close()
	d.life.rings[i] = nil
}

// StartQueue implements virtio.QueueResetter.
func (d *Device) StartQueue(i int, q virtio.Queue) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life == nil || i >= len(d.life.rings) {
		return fmt.Errorf("frontend: start queue %d of %v: the device is not active", i, d.spec.Type)
	}
	r, err := newRing(q)
	if err != nil {
		return err
	}
	d.life.rings[i] = r
	if d.link == nil {
		return nil
	}
	if err := d.startRing(d.link, i, r, q.Config().Start); err != nil && (d.spec.Once || !errors.Is(err, ErrLost)) {
		return fmt.Errorf("frontend: start queue %d of %v: %w", i, d.spec.Type, err)
	}
	return nil
}

// EnableQueue has the back-end serve a queue, or leave it alone, as the driver of a
// network device with several pairs says over the control queue. All are enabled at
// first.
func (d *Device) EnableQueue(i int, on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life == nil || i >= len(d.life.rings) || d.life.rings[i] == nil {
		return fmt.Errorf("frontend: enable queue %d of %v: not active", i, d.spec.Type)
	}
	d.life.rings[i].disabled = !on
	if d.link == nil {
		return nil
	}
	return d.enable(d.link, i, on)
}

// memoryTable lists guest memory as a back-end needs to know it.
func memoryTable(mem *memory.Space) (user.MemoryTable, error) {
	var t user.MemoryTable
	for _, r := range mem.Regions() {
		if r.File == nil {
			return nil, fmt.Errorf("frontend: guest memory %v is private: a back-end cannot map it", r)
		}
		t = append(t, user.MemoryRegion{
			GPA: r.GPA, Size: uint64(len(r.Bytes)), User: vhost.Address(r.Bytes), Offset: uint64(r.Offset),
		})
	}
	return t, nil
}

// sendMemory tells the back-end where guest memory is.
func sendMemory(l *link, mem *memory.Space) error {
	t, err := memoryTable(mem)
	if err != nil {
		return err
	}
	var fds []int
	for _, r := range mem.Regions() {
		fds = append(fds, int(r.File.Fd()))
	}
	first := min(len(t), user.MaxRegions)
	if len(t) > first {
		if err := checkSlots(l, len(t)); err != nil {
			return err
		}
	}
	// The first message takes the place of all that the back-end had, the others add
	// to it.
	if err := l.do(user.SetMemTable, t[:first], fds[:first]...); err != nil {
		return err
	}
	for i, r := range t[first:] {
		if err := l.do(user.AddMemReg, r, fds[first+i]); err != nil {
			return err
		}
	}
	return nil
}

// checkSlots tells whether the back-end takes more regions than one message holds.
func checkSlots(l *link, n int) error {
	have := uint64(user.MaxRegions)
	if l.protocol.Has(user.ProtocolConfigureMemSlots) {
		var err error
		if have, err = l.number(user.GetMaxMemSlots); err != nil {
			return err
		}
	}
	if have < uint64(n) {
		return fmt.Errorf("frontend: %d regions of guest memory: the back-end takes %d", n, have)
	}
	return nil
}

// shareInflight gives the back-end the area for requests in flight, or has it make
// one, which is kept for the one that comes after it.
func (d *Device) shareInflight(l *link) error {
	if !l.protocol.Has(user.ProtocolInflightSHMFD) {
		return nil
	}
	if d.inflight == nil {
		want := user.Inflight{Queues: uint16(d.spec.Queues), QueueSize: d.spec.QueueSize}
		p, m, err := l.call(user.GetInflightFD, want)
		if err != nil {
			return err
		}
		defer m.CloseFDs()
		fd := m.TakeFD(0)
		if fd < 0 {
			return nil // it has nothing to remember
		}
		d.inflight, d.area = os.NewFile(uintptr(fd), "vhost-inflight"), p.(user.Inflight)
	}
	return l.do(user.SetInflightFD, d.area, int(d.inflight.Fd()))
}
