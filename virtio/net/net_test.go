package net

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"tandem/virtio"
	"tandem/virtio/limit"
	"tandem/virtio/queue"
	"tandem/virtio/virtiotest"
)

var (
	mac       = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

func newCard(t testing.TB, spec Spec) (*Device, *pipe, []*os.File) {
	t.Helper()
	p, ends := newPipe(t, max(1, spec.Pairs))
	spec.Backend = p
	if spec.MAC == nil {
		spec.MAC = mac
	}
	d, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, p, ends
}

// plug plugs a card into a guest.
func plug(t testing.TB, spec Spec) (*virtiotest.Guest, *Device, *pipe, []*os.File) {
	d, p, ends := newCard(t, spec)
	return virtiotest.New(t, virtiotest.Kinds()[0], d, virtiotest.Options{}), d, p, ends
}

// transmit sends a frame, cut into pieces of at most so many bytes.
func transmit(g *virtiotest.Guest, q int, b []byte, size int) virtiotest.Used {
	g.Helper()
	var pieces []virtiotest.Piece
	for part := range slices.Chunk(b, size) {
		pieces = append(pieces, g.In(part))
	}
	u := g.Do(q, pieces...)
	g.ReuseFrom(pieces[0].GPA)
	return u
}

// post offers receive buffers, and gives where they are.
func post(g *virtiotest.Guest, q int, sizes ...uint32) (pieces []virtiotest.Piece) {
	g.Helper()
	for _, n := range sizes {
		p := g.Out(n)
		pieces = append(pieces, p)
		g.Rings[q].Offer(p)
	}
	g.Kick(q)
	return pieces
}

// received waits for a frame in buffers that post has given, and puts it together.
func received(g *virtiotest.Guest, q int, pieces []virtiotest.Piece) (b []byte, buffers int) {
	g.Helper()
	for i := 0; i == 0 || i < buffers; i++ {
		u := g.WaitUsed(q)
		part := g.Bytes(pieces[i].GPA, uint64(pieces[i].Len))
		if i == 0 {
			buffers = int(binary.LittleEndian.Uint16(part[numBuffersAt:]))
		}
		if i < buffers-1 && u.Len != pieces[i].Len {
			g.Errorf("buffer %d of %d has %d bytes, and room for %d", i, buffers, u.Len, pieces[i].Len)
		}
		b = append(b, part[:u.Len]...)
	}
	clear(b[numBuffersAt:HeaderSize])
	return b, buffers
}

func TestConformance(t *testing.T) {
	ends := make(map[virtio.Device][]*os.File)
	seed := byte(0)
	virtiotest.Suite{
		New: func(t testing.TB) virtio.Device {
			d, _, e := newCard(t, Spec{})
			ends[d] = e
			return d
		},
		Probe: func(g *virtiotest.Guest) {
			g.Helper()
			end := ends[g.Dev][0]
			seed++
			want := frame([6]byte(mac), 200, seed)
			buffers := post(g, 0, 1600)
			sendEnd(g, end, want)
			if got, n := received(g, 0, buffers); n != 1 || !bytes.Equal(got, want) {
				g.Fatalf("received %x in %d buffers, want %x", got, n, want)
			}
			g.ReuseFrom(buffers[0].GPA)
			if len(g.Rings) < 2 {
				return
			}
			want = frame(broadcast, 150, seed+100)
			transmit(g, 1, want, 120)
			if got := receiveEnd(g, end); !bytes.Equal(got, want) {
				g.Fatalf("sent %x, want %x", got, want)
			}
		},
	}.Run(t)
}

// TestTransmit sends frames of many lengths, cut in many ways.
func TestTransmit(t *testing.T) {
	g, d, _, ends := plug(t, Spec{})
	g.Start(^uint64(0), 256)
	sent, total := uint64(0), uint64(0)
	for _, n := range []int{ethernetHeader, 60, 1514, 9014, maxFrame} {
		for _, size := range []int{1, 7, 1000, 1 << 20} {
			if n/size > 200 {
				continue
			}
			want := frame(broadcast, n, byte(n))
			if u := transmit(g, 1, want, size); u.Len != 0 {
				t.Errorf("the device says that it wrote %d bytes of a frame that it sent", u.Len)
			}
			if got := receiveEnd(t, ends[0]); !bytes.Equal(got, want) {
				t.Errorf("frame of %d bytes in pieces of %d: %d bytes came out, equal %v", n, size, len(got), bytes.Equal(got, want))
			}
			sent, total = sent+1, total+uint64(n)
		}
	}
	if tx, _ := d.Stats(0); tx.Packets != sent || tx.Bytes != total || tx.Drops != nil {
		t.Errorf("stats %+v, want %d packets, %d bytes", tx, sent, total)
	}
}

// TestTransmitDrops sends what is no frame: it is dropped, counted, and the next goes.
func TestTransmitDrops(t *testing.T) {
	g, d, _, ends := plug(t, Spec{})
	g.Start(^uint64(0), 256)
	for _, b := range [][]byte{
		make([]byte, 1), make([]byte, HeaderSize), make([]byte, HeaderSize+ethernetHeader-1), make([]byte, HeaderSize+maxFrame+1),
	} {
		transmit(g, 1, b, 1<<20)
	}
	g.Do(1, g.Out(100)) // nothing to read at all
	want := frame(broadcast, 60, 1)
	transmit(g, 1, want, 1<<20)
	if got := receiveEnd(t, ends[0]); !bytes.Equal(got, want) {
		t.Errorf("%x came out, want %x", got, want)
	}
	if tx, _ := d.Stats(0); tx.Drops[DropShort] != 4 || tx.Drops[DropLong] != 1 || tx.Packets != 1 {
		t.Errorf("stats %+v, want 4 short, 1 long and 1 packet", tx)
	}
	// A cable that nobody pulls from is full at some time. The driver does not wait for it.
	for range 10000 {
		transmit(g, 1, frame(broadcast, 9014, 1), 1<<20)
		if tx, _ := d.Stats(0); tx.Drops[DropFull] > 0 {
			return
		}
	}
	t.Error("10000 frames of 9000 bytes went into a cable that nobody pulls from")
}

// TestReceive spreads frames over buffers.
func TestReceive(t *testing.T) {
	for _, test := range []struct {
		name    string
		sizes   []uint32
		frame   int
		buffers int
	}{
		{"one buffer", []uint32{1600}, 1500, 1},
		{"to the last byte", []uint32{HeaderSize + 100}, 100, 1},
		{"two", []uint32{100, 100}, 150, 2},
		{"not all", []uint32{1000, 1000, 1000, 1000}, 2500, 3},
		{"header alone in the first", []uint32{HeaderSize, 200}, 200, 2},
		{"segment", slices.Repeat([]uint32{1536}, 50), maxFrame, 43},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, d, _, ends := plug(t, Spec{})
			g.Start(^uint64(0), 256)
			for round := range 3 {
				want := frame([6]byte(mac), test.frame, byte(round))
				buffers := post(g, 0, test.sizes...)
				sendEnd(t, ends[0], want)
				got, n := received(g, 0, buffers)
				if n != test.buffers || !bytes.Equal(got, want) {
					t.Fatalf("round %d: %d bytes in %d buffers, equal %v; want %d in %d",
						round, len(got), n, bytes.Equal(got, want), len(want), test.buffers)
				}
				// What is left over is for the next frame: use it up.
				for left := buffers[n:]; len(left) > 0; {
					want := frame([6]byte(mac), 60, byte(round))
					sendEnd(t, ends[0], want)
					got, n := received(g, 0, left)
					if !bytes.Equal(got, want) {
						t.Fatalf("round %d, in what was left over: %x, want %x", round, got, want)
					}
					left = left[n:]
				}
			}
			if _, rx := d.Stats(0); rx.Drops != nil {
				t.Errorf("stats %+v", rx)
			}
		})
	}
}

// TestReceiveWaitsForBuffers has a frame that is longer than all buffers that were posted when it came.
func TestReceiveWaitsForBuffers(t *testing.T) {
	g, _, _, ends := plug(t, Spec{})
	g.Start(^uint64(0), 256)
	want := frame([6]byte(mac), 5000, 9)
	pieces := post(g, 0, 1500)
	sendEnd(t, ends[0], want)
	for range 3 {
		pieces = append(pieces, post(g, 0, 1500)...)
	}
	if got, n := received(g, 0, pieces); n != 4 || !bytes.Equal(got, want) {
		t.Errorf("%d bytes in %d buffers, equal %v", len(got), n, bytes.Equal(got, want))
	}
}

// TestReceiveWithoutMerging: a frame that is too long for its buffer is dropped, and the buffer takes the next one.
func TestReceiveWithoutMerging(t *testing.T) {
	g, d, _, ends := plug(t, Spec{})
	g.Start(^uint64(0)&^(1<<FeatureMergeable), 256)
	pieces := post(g, 0, 200, 200)
	sendEnd(t, ends[0], frame([6]byte(mac), 300, 1))
	want := frame([6]byte(mac), 188, 2)
	sendEnd(t, ends[0], want)
	if got, n := received(g, 0, pieces); n != 1 || !bytes.Equal(got, want) {
		t.Errorf("%d bytes in %d buffers", len(got), n)
	}
	if _, rx := d.Stats(0); rx.Drops[DropTruncated] != 1 || rx.Packets != 1 {
		t.Errorf("stats %+v, want 1 truncated and 1 packet", rx)
	}
}

func TestBrokenReceiveBuffer(t *testing.T) {
	g, _, _, _ := plug(t, Spec{})
	g.Start(^uint64(0), 16)
	post(g, 0, HeaderSize-1)
	g.WaitNeedsReset()
	var broken *queue.Error
	if r := g.Reports(); len(r) != 1 || !errors.As(r[0], &broken) {
		t.Errorf("reports %v", r)
	}
}

// TestCableCut closes the other end: the driver is told that the link is down, and the card lives.
func TestCableCut(t *testing.T) {
	g, _, _, ends := plug(t, Spec{})
	g.Start(^uint64(0), 16)
	post(g, 0, 1600)
	ends[0].Close()
	transmit(g, 1, frame(broadcast, 60, 1), 1<<20)
	if s := g.Status(); s&virtio.StatusNeedsReset != 0 {
		t.Errorf("status %#x", s)
	}
	g.ResetDevice()
}

func TestSpec(t *testing.T) {
	p, _ := newPipe(t, 1)
	for _, s := range []Spec{
		{},
		{Backend: p, Pairs: 2},
		{Backend: p, Pairs: -1},
		{Backend: p, MTU: 60},
		{Backend: p, MAC: net.HardwareAddr{1, 2, 3, 4, 5, 6}},
		{Backend: p, MAC: net.HardwareAddr{2, 2}},
		{Backend: p, MAC: make(net.HardwareAddr, 6)},
	} {
		if d, err := New(s); err == nil {
			t.Errorf("New took %+v", d.spec)
		}
	}
}

// TestLimits moves frames against limits, and changes them meanwhile.
func TestLimits(t *testing.T) {
	g, d, _, ends := plug(t, Spec{})
	g.Start(^uint64(0), 256)
	// The second frame of each direction would take longer than the test waits.
	slow := limit.Limits{Bytes: limit.Rate{PerSecond: 1}}
	for _, l := range []*limit.Limiter{&d.Transmit, &d.Receive} {
		if err := l.Set(slow); err != nil {
			t.Fatal(err)
		}
		l.Spend(3600)
	}
	pieces := post(g, 0, 1600, 1600)
	in, out := frame([6]byte(mac), 60, 1), frame(broadcast, 70, 2)
	sendEnd(t, ends[0], in)
	g.Rings[1].Offer(g.In(out))
	g.Kick(1)
	if d.Transmit.Wait() == 0 || d.Receive.Wait() == 0 {
		t.Fatal("the limits are not in force")
	}
	for _, l := range []*limit.Limiter{&d.Transmit, &d.Receive} {
		if err := l.Set(limit.Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := receiveEnd(t, ends[0]); !bytes.Equal(got, out) {
		t.Errorf("%x was sent, want %x", got, out)
	}
	g.WaitUsed(1)
	if got, _ := received(g, 0, pieces); !bytes.Equal(got, in) {
		t.Errorf("%x was received, want %x", got, in)
	}
	// A rate that the test can wait for.
	if err := d.Transmit.Set(limit.Limits{Bytes: limit.Rate{PerSecond: 100000, Burst: 100}}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		want := frame(broadcast, 500, byte(i))
		transmit(g, 1, want, 1<<20)
		if got := receiveEnd(t, ends[0]); !bytes.Equal(got, want) {
			t.Fatalf("frame %d: %x was sent, want %x", i, got, want)
		}
	}
}

func TestDropText(t *testing.T) {
	in := Stats{Packets: 1, Drops: map[Drop]uint64{DropShort: 2, DropDown: 3}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Stats
	if err := json.Unmarshal(text, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%s became %+v, %v", text, out, err)
	}
	if err := json.Unmarshal([]byte(`{"drops": {"boredom": 1}}`), &out); err == nil {
		t.Error("a reason that there is not was taken")
	}
}

// countedCalls is an Observer.
type countedCalls struct{ atomic.Int32 }

func (c *countedCalls) Observe(e queue.Event) {
	if e.Stage == queue.CallSent && e.Queue == 0 {
		c.Add(1)
	}
}

// TestFramesThatWaitAreToldOnce has frames come one at a time, and then more of them wait than one call tells of.
func TestFramesThatWaitAreToldOnce(t *testing.T) {
	calls := new(countedCalls)
	d, _, ends := newCard(t, Spec{Leave: 1 << virtio.FeatureEventIdx}) // so that each time a driver looks is a call
	g := virtiotest.New(t, virtiotest.Kinds()[0], d, virtiotest.Options{Observer: calls})
	g.Start(^uint64(0), 256)
	for i := range 3 {
		pieces := post(g, 0, 200)
		sendEnd(t, ends[0], frame([6]byte(mac), 100, byte(i)))
		received(g, 0, pieces)
	}
	waitFor(t, "a call for each of 3 frames", func() bool { return calls.Load() == 3 })

	const frames = batch + batch/2
	for i := range frames {
		sendEnd(t, ends[0], frame([6]byte(mac), 100, byte(i)))
	}
	pieces := post(g, 0, slices.Repeat([]uint32{200}, frames)...)
	for i := range frames {
		if got, _ := received(g, 0, pieces[i:]); !bytes.Equal(got, frame([6]byte(mac), 100, byte(i))) {
			t.Fatalf("frame %d is %x", i, got)
		}
	}
	if n := calls.Load() - 3; n > frames/4 {
		t.Errorf("%d calls for %d frames that were there", n, frames)
	}
}
