package console

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

// TestSingle is a driver that knows of no ports: the size in the configuration space, and emergency writes.
func TestSingle(t *testing.T) {
	p := connect(t, single())
	p.SetSize(80, 24)
	g := virtiotest.New(t, virtiotest.Kinds()[0], p, virtiotest.Options{})
	// A character is written before anything is agreed upon.
	g.WriteConfig(configEmergWr, []byte("!\x00\x00\x00"))
	g.WriteConfig(configEmergWr+1, []byte{'x', 'x', 'x'})
	g.WriteConfig(configCols, []byte{1, 1, 1, 1})
	if got := p.got.take(t, 1); string(got) != "!" {
		t.Errorf("emergency write brought %q", got)
	}
	agreed := g.Start(^uint64(0), 64)
	if agreed&(1<<FeatureMultiport) != 0 {
		t.Error("a single console has ports")
	}
	if !g.WaitConfig(virtiotest.Patience) {
		t.Error("the driver is not told to look at the size")
	}
	if c, r := g.Config16(configCols), g.Config16(configRows); c != 80 || r != 24 {
		t.Errorf("size %d x %d, want 80 x 24", c, r)
	}
	before := g.Generation()
	p.SetSize(100, 30)
	if !g.WaitConfig(virtiotest.Patience) {
		t.Error("no interrupt for a new size")
	}
	if c, r := g.Config16(configCols), g.Config16(configRows); c != 100 || r != 30 || g.Generation() == before {
		t.Errorf("size %d x %d (generation %d), want 100 x 30 and not %d", c, r, g.Generation(), before)
	}
	if g.Do(1, g.In([]byte("to the ")), g.In([]byte("host"))); string(p.got.take(t, 11)) != "to the host" {
		t.Error("not what was sent")
	}
	probe(g)
}

// TestWaitsForGuest holds input back until a program has opened the port, and over a reset.
func TestWaitsForGuest(t *testing.T) {
	g, p := begin(t, three())
	sent := make(chan error, 1)
	go func() {
		_, err := p.in.Write([]byte("early"))
		sent <- err
	}()
	out := g.Out(64)
	g.Rings[0].Offer(out)
	g.Notify(0)
	say(g, 0, eventPortReady, 1)
	select {
	case <-sent:
		t.Fatal("input was read for a port that nobody has open")
	default:
	}
	say(g, 0, eventPortOpen, 1)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	u := g.WaitUsed(0)
	if got := string(g.Bytes(out.GPA, uint64(u.Len))); got != "early" {
		t.Errorf("%q came", got)
	}
	// One that has been read, and finds no buffer before the reset, is the next driver's.
	go func() {
		_, err := p.in.Write([]byte("late"))
		sent <- err
	}()
	g.Rings[0].Offer(g.Out(2))
	g.Kick(0)
	if u := g.WaitUsed(0); u.Len != 2 {
		t.Errorf("%d bytes came, want 2", u.Len)
	}
	<-sent
	g.Start(^uint64(0), 64)
	p.control([controlSize]byte(message{0, eventPortOpen, 1, ""}.bytes()))
	out = g.Out(64)
	if u := g.Do(0, out); string(g.Bytes(out.GPA, uint64(u.Len))) != "te" {
		t.Errorf("%q came after a reset, want \"te\"", g.Bytes(out.GPA, uint64(u.Len)))
	}
}

// TestSlowWriter sends more than the buffers hold to a writer that has stopped: the chain waits, and then all of it is
// there, in order.
func TestSlowWriter(t *testing.T) {
	for _, k := range virtiotest.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			p := connect(t, three())
			g := virtiotest.New(t, k, p, virtiotest.Options{})
			g.Start(^uint64(0), 64)
			p.got.stop(true)
			rng := rand.New(rand.NewPCG(1, 2))
			var want []byte
			offered := 0
			for len(want) < 6*outputSize {
				b := make([]byte, 1+rng.IntN(50000))
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				half := rng.IntN(len(b))
				if half == 0 {
					g.Rings[1].Offer(g.In(b))
				} else {
					g.Rings[1].Offer(g.In(b[:half]), g.In(b[half:]))
				}
				offered++
				want = append(want, b...)
				g.Kick(1)
			}
			if back := g.Rings[1].UsedIdx(); int(back) == offered {
				t.Errorf("all of %d bytes was taken, with %d bytes of room", len(want), 2*outputSize)
			}
			p.got.stop(false)
			if got := p.got.take(t, len(want)); !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, not the %d that were sent", len(got), len(want))
			}
			for range offered {
				g.WaitUsed(1)
			}
		})
	}
}

// TestStoppedConsole does not keep a guest for ever: its output is dropped until the writer goes on.
func TestStoppedConsole(t *testing.T) {
	p := connect(t, single())
	g := virtiotest.New(t, virtiotest.Kinds()[0], p, virtiotest.Options{})
	g.Start(^uint64(0), 64)
	p.got.stop(true)
	piece := g.In(bytes.Repeat([]byte{'x'}, outputSize))
	start := time.Now()
	for range 10 {
		g.Do(1, piece)
	}
	if d := time.Since(start); d < Patience {
		t.Errorf("output was dropped after %v, want %v", d, Patience)
	}
	p.got.stop(false)
	if got := p.got.take(t, 2*outputSize); len(got) > 3*outputSize {
		t.Errorf("%d bytes were kept", len(got))
	}
	g.Do(1, g.In([]byte("again")))
	if got := p.got.take(t, 5); !bytes.HasSuffix(got, []byte("again")) {
		t.Errorf("%q came", got)
	}
}

// TestNobodyConnected throws the guest's output away; a writer that fails does the same, and says so once.
func TestNobodyConnected(t *testing.T) {
	var reports []error
	spec := three()
	spec.Report = func(err error) { reports = append(reports, err) }
	p := connect(t, spec)
	g := virtiotest.New(t, virtiotest.Kinds()[0], p, virtiotest.Options{})
	g.Start(^uint64(0), 64)
	third := p.Ports()[2]
	tx := receiveQueue(2) + 1
	big := g.In(make([]byte, 5*outputSize))
	g.Do(tx, big)
	broken := errors.New("disk full")
	c, err := third.Connect(nil, writerFunc(func([]byte) (int, error) { return 0, broken }))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		g.Do(tx, big)
	}
	<-c.Ended()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if len(reports) != 1 || !errors.Is(reports[0], broken) {
		t.Errorf("reports = %v", reports)
	}
}

// TestWriterFailsWhileFull has a chain wait for room behind a writer that fails: there is nothing to wait for then.
func TestWriterFailsWhileFull(t *testing.T) {
	p := connect(t, three())
	g := virtiotest.New(t, virtiotest.Kinds()[0], p, virtiotest.Options{})
	g.Start(^uint64(0), 64)
	tx := receiveQueue(2) + 1
	writes, release := make(chan struct{}, 1), make(chan struct{})
	c, err := p.Ports()[2].Connect(nil, writerFunc(func([]byte) (int, error) {
		writes <- struct{}{}
		<-release
		return 0, errors.New("disk full")
	}))
	if err != nil {
		t.Fatal(err)
	}
	g.Rings[tx].Offer(g.In(make([]byte, 5*outputSize)))
	g.Kick(tx)
	<-writes
	for c.stalled() == 0 {
		runtime.Gosched()
	}
	close(release)
	g.WaitUsed(tx)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestSocket has clients come one after the other. The bytes of each reach the guest before it hears of its end.
func TestSocket(t *testing.T) {
	g, p := begin(t, three())
	third := p.Ports()[2]
	rx, tx := receiveQueue(2), receiveQueue(2)+1
	expect(g, message{0, eventPortAdd, 1, ""}, message{1, eventPortAdd, 1, ""}, message{2, eventPortAdd, 1, ""})
	say(g, 2, eventPortReady, 1)
	say(g, 2, eventPortOpen, 1)
	expect(g, message{2, eventPortName, 1, "third.port"})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- third.Serve(l) }()
	in := &inbox{g: g, queue: rx, at: map[uint32]uint64{}}
	for round := range 3 {
		client, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		expect(g, message{2, eventPortOpen, 1, ""})
		question := bytes.Repeat([]byte{byte('a' + round)}, 3*inputSize/2)
		go func() {
			_, _ = client.Write(question)
		}()
		var got []byte
		for len(got) < len(question) {
			got = append(got, in.next()...)
		}
		if !bytes.Equal(got, question) {
			t.Errorf("round %d: not what was sent", round)
		}
		g.Do(tx, g.In([]byte("answer")))
		answer := make([]byte, 6)
		if _, err := io.ReadFull(client, answer); err != nil || string(answer) != "answer" {
			t.Errorf("round %d: %q, %v", round, answer, err)
		}
		go func() {
			_, _ = client.Write([]byte("bye"))
			client.Close()
		}()
		in.offer()
		in.offer()
		expect(g, message{2, eventPortOpen, 0, ""})
		if u, ok := g.Rings[rx].Take(); !ok || string(in.bytes(u)) != "bye" {
			t.Errorf("round %d: the end came before the last bytes", round)
		}
	}
	// Whoever comes when the machine has ended is sent away.
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a client of a closed device got %d bytes, %v", n, err)
	}
	client.Close()
	l.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// inbox is the buffers of a driver for input.
type inbox struct {
	g     *virtiotest.Guest
	queue int
	at    map[uint32]uint64 // by head: where the bytes come to
}

func (b *inbox) offer() {
	out := b.g.Out(4096)
	b.at[uint32(b.g.Rings[b.queue].Offer(out))] = out.GPA
	b.g.Kick(b.queue)
}

func (b *inbox) bytes(u virtiotest.Used) []byte {
	at := b.at[u.Head]
	delete(b.at, u.Head)
	return b.g.Bytes(at, uint64(u.Len))
}

// next waits for the next bytes.
func (b *inbox) next() []byte {
	for len(b.at) < 2 {
		b.offer()
	}
	return b.bytes(b.g.WaitUsed(b.queue))
}

func TestBadBuffers(t *testing.T) {
	g, _ := begin(t, three())
	g.Rings[0].Offer(g.In([]byte("to the host, in the queue to the guest")))
	g.Kick(0)
	g.WaitNeedsReset()
	var broken *queue.Error
	if r := g.Reports(); len(r) != 1 || !errors.As(r[0], &broken) {
		t.Errorf("reports = %v", r)
	}
	g.Start(^uint64(0), 64)
	g.Do(1, g.Out(64)) // nothing to send is no mistake
	probe(g)
}

func TestSpec(t *testing.T) {
	for _, s := range []Spec{
		{},
		{Ports: make([]PortSpec, MaxPorts+1)},
		{Ports: make([]PortSpec, 2), Single: true},
		{Ports: []PortSpec{{Name: "a", Console: true}}, Single: true},
		{Ports: []PortSpec{{Name: "a"}, {Name: "a"}}},
		{Ports: []PortSpec{{Name: "a/b"}}},
		{Ports: []PortSpec{{Name: "a\n"}}},
		{Ports: []PortSpec{{Name: ".."}}},
		{Ports: []PortSpec{{Name: "\xff"}}},
		{Ports: []PortSpec{{Name: string(make([]byte, MaxName+1))}}},
	} {
		if _, err := New(s); err == nil {
			t.Errorf("New(%+v) has no error", s)
		}
	}
	if _, err := New(Spec{Ports: make([]PortSpec, MaxPorts)}); err != nil {
		t.Error(err)
	}
}
