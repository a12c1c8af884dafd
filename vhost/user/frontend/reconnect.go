package frontend

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long to wait before a connection is tried again: at first, and at most.
const (
	firstWait = 5 * time.Millisecond
	lastWait  = 500 * time.Millisecond
)

// lost is called when a connection has ended.
func (d *Device) lost(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link != l {
		return // one that was given up, or never taken up
	}
	d.link = nil
	d.report(fmt.Errorf("frontend: %v: %w", d.spec.Type, l.err))
	switch {
	case d.ctx.Err() != nil:
	case d.spec.Once:
		if d.life != nil {
			d.life.Fail(l.err)
		}
	case !d.reconnecting:
		d.reconnecting = true
		d.running.Add(1)
		go func() {
			defer d.running.Done()
			d.reconnect()
		}()
	}
}

// reconnect tries until there is a back-end again, or the device is closed.
func (d *Device) reconnect() {
	var last string // what went wrong, said once
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := d.tryAgain()
		if err == nil || d.ctx.Err() != nil {
			break
		}
		if s := err.Error(); s != last {
			d.report(fmt.Errorf("frontend: connect %v again: %w", d.spec.Type, err))
			last = s
		}
		select {
		case <-time.After(wait):
		case <-d.ctx.Done():
		}
	}
}

// tryAgain connects once, and has the new back-end go on where the old one was.
func (d *Device) tryAgain() error {
	ctx, cancel := context.WithTimeout(d.ctx, d.spec.Timeout)
	defer cancel()
	l, err := d.connect(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		l.close()
		return d.ctx.Err()
	}
	agreed := d.offered
	if d.life != nil {
		agreed &= d.life.Features
	}
	if missing := agreed &^ l.features; missing != 0 {
		l.close()
		return fmt.Errorf("the new back-end lacks features %#x", missing)
	}
	if d.life != nil {
		if err := d.startAll(l, true); err != nil {
			l.close()
			return err
		}
	}
	select {
	case <-l.dead: // before it was ours: lost has come and gone
		return errors.Join(ErrLost, l.err)
	default:
	}
	d.link = l
	d.reconnecting = false
	return nil
}
