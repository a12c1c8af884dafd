package console

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"tandem/virtio/virtiotest"
)

// begin starts a driver and tells the device that it wants to hear of ports.
func begin(t *testing.T, spec Spec) (*virtiotest.Guest, *peer) {
	t.Helper()
	p := connect(t, spec)
	g := virtiotest.New(t, virtiotest.Kinds()[0], p, virtiotest.Options{})
	g.Start(^uint64(0), 64)
	say(g, 0xffffffff, eventDeviceReady, 1)
	return g, p
}

// TestControl is the conversation of a driver that finds three ports.
func TestControl(t *testing.T) {
	g, p := begin(t, three())
	p.SetSize(80, 24)
	expect(g, message{0, eventPortAdd, 1, ""}, message{1, eventPortAdd, 1, ""}, message{2, eventPortAdd, 1, ""})
	say(g, 0, eventPortReady, 1)
	expect(g, message{0, eventPortName, 1, "first"}, message{0, eventPortOpen, 1, ""})
	say(g, 1, eventPortReady, 1)
	expect(g, message{1, eventConsolePort, 1, ""}, message{1, eventResize, 0, "\x50\x00\x18\x00"})
	p.SetSize(132, 50)
	expect(g, message{1, eventResize, 0, "\x84\x00\x32\x00"})
	say(g, 2, eventPortReady, 1)
	expect(g, message{2, eventPortName, 1, "third.port"})
	// Somebody comes to port 2 on the host, goes, and is followed by the next one, all before the driver looks.
	third := p.Ports()[2]
	for _, want := range [][]message{
		{{2, eventPortOpen, 1, ""}},
		{{2, eventPortOpen, 0, ""}, {2, eventPortOpen, 1, ""}},
	} {
		c, err := third.Connect(nil, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := third.Connect(nil, nil); !errors.Is(err, ErrConnected) {
			t.Errorf("a second connection: %v, want %v", err, ErrConnected)
		}
		expect(g, want...)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	expect(g, message{2, eventPortOpen, 0, ""})
	// One who is gone again before the driver looks was never there.
	c, err := third.Connect(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if m := p.next(nil); m != nil {
		t.Errorf("the driver is told %x", m)
	}
	if _, err := third.Connect(nil, nil); err != nil {
		t.Fatal(err)
	}
	expect(g, message{2, eventPortOpen, 1, ""})
	for _, open := range []bool{true, false, true} {
		value := uint16(0)
		if open {
			value = 1
		}
		say(g, 2, eventPortOpen, value)
		if third.Open() != open {
			t.Errorf("port 2 is open: %v, want %v", third.Open(), open)
		}
	}
	if n := p.Ignored(); n != 0 {
		t.Errorf("%d messages were ignored", n)
	}
	// The next driver is told all of it again.
	g.Start(^uint64(0), 64)
	if third.Open() {
		t.Error("port 2 is open after a reset")
	}
	say(g, 0, eventDeviceReady, 1)
	expect(g, message{0, eventPortAdd, 1, ""}, message{1, eventPortAdd, 1, ""}, message{2, eventPortAdd, 1, ""})
	say(g, 2, eventPortReady, 1)
	expect(g, message{2, eventPortName, 1, "third.port"}, message{2, eventPortOpen, 1, ""})
}

// TestPlug takes ports away and gives them back.
func TestPlug(t *testing.T) {
	p := connect(t, three())
	g := virtiotest.New(t, virtiotest.Kinds()[0], p, virtiotest.Options{})
	first, second := p.Ports()[0], p.Ports()[1]
	if err := second.Unplug(); err != nil {
		t.Fatal(err)
	}
	g.Start(^uint64(0), 64)
	say(g, 0, eventDeviceReady, 1)
	expect(g, message{0, eventPortAdd, 1, ""}, message{2, eventPortAdd, 1, ""})
	say(g, 1, eventPortReady, 1) // it lies
	say(g, 1, eventPortOpen, 1)
	if second.Open() {
		t.Error("a port that is not there is open")
	}
	if err := second.Plug(); err != nil {
		t.Fatal(err)
	}
	expect(g, message{1, eventPortAdd, 1, ""})
	say(g, 0, eventPortReady, 1)
	expect(g, message{0, eventPortName, 1, "first"}, message{0, eventPortOpen, 1, ""})
	if err := first.Unplug(); err != nil {
		t.Fatal(err)
	}
	<-p.conn.Ended()
	if _, err := first.Connect(nil, nil); err == nil {
		t.Error("somebody connected to a port that is not there")
	}
	if err := first.Plug(); err != nil {
		t.Fatal(err)
	}
	expect(g, message{0, eventPortRemove, 1, ""}, message{0, eventPortAdd, 1, ""})
	if err := connect(t, single()).Ports()[0].Unplug(); err == nil {
		t.Error("the port of a single console was unplugged")
	}
}

// TestHostileControl sends messages that make no sense, too short, and far too often.
func TestHostileControl(t *testing.T) {
	g, p := begin(t, three())
	for _, m := range []message{
		{3, eventPortReady, 1, ""},
		{0xffffffff, eventPortOpen, 1, ""},
		{0, eventPortAdd, 1, ""},
		{0, eventPortName, 1, ""},
		{1, 0xffff, 0xffff, ""},
	} {
		say(g, m.id, m.event, m.value)
	}
	g.Do(controlTransmitQueue, g.In(make([]byte, controlSize-1)))
	g.Do(controlTransmitQueue, g.Out(8))
	if n := p.Ignored(); n != 7 {
		t.Errorf("%d messages were ignored, want 7", n)
	}
	// A message in pieces, and one with more behind it.
	whole := message{2, eventPortOpen, 1, "more"}.bytes()
	g.Do(controlTransmitQueue, g.In(whole[:3]), g.In(whole[3:4]), g.In(whole[4:]))
	if !p.Ports()[2].Open() {
		t.Error("a message in pieces had no effect")
	}
	for i := range 20000 {
		say(g, uint32(i%3), eventPortReady, 1)
		if i%5 == 0 {
			say(g, 0, eventDeviceReady, 1)
		}
	}
	say(g, 0, eventDeviceReady, 1)
	expect(g, message{0, eventPortAdd, 1, ""}, message{1, eventPortAdd, 1, ""}, message{2, eventPortAdd, 1, ""})
	// A message comes in as many pieces as the driver likes, and needs room.
	say(g, 2, eventPortReady, 1)
	a, b := g.Out(3), g.Out(40)
	u := g.Do(controlReceiveQueue, a, b)
	got := append(bytes.Clone(g.Bytes(a.GPA, 3)), g.Bytes(b.GPA, uint64(u.Len)-3)...)
	if want := (message{2, eventPortName, 1, "third.port"}).bytes(); !bytes.Equal(got, want) {
		t.Errorf("message in pieces = %q, want %q", got, want)
	}
	say(g, 2, eventPortReady, 1)
	g.Rings[controlReceiveQueue].Offer(g.Out(10))
	g.Kick(controlReceiveQueue)
	g.WaitNeedsReset()
	if r := g.Reports(); len(r) != 1 {
		t.Errorf("reports = %v", r)
	}
	g.Start(^uint64(0), 64)
	probe(g)
}
