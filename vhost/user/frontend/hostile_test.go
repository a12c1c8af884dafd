package frontend_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/vhost/user"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// misbehave answers a request in place of fake, or does not.
type misbehave func(c *user.Conn, m *user.Message)

// fake is a back-end that says what it is told to, and never looks at a ring.
type fake struct {
	testing.TB
	path     string
	protocol user.ProtocolFeatures

	mu    sync.Mutex
	wrong map[user.Request]misbehave
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{
		TB: t, path: filepath.Join(t.TempDir(), "s"), wrong: map[user.Request]misbehave{},
		protocol: user.Protocol(user.ProtocolMQ, user.ProtocolReplyAck, user.ProtocolConfig, user.ProtocolInflightSHMFD,
			user.ProtocolMTU, user.ProtocolConfigureMemSlots),
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			sessions.Go(func() { f.session(user.NewConn(c)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		sessions.Wait()
	})
	return f
}

func (f *fake) set(r user.Request, w misbehave) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong[r] = w
}

func (f *fake) session(c *user.Conn) {
	defer c.Close()
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		m.CloseFDs()
		r := user.Request(m.Request)
		f.mu.Lock()
		wrong := f.wrong[r]
		f.mu.Unlock()
		if wrong != nil {
			wrong(c, m)
			continue
		}
		var p user.Payload
		switch r {
		case user.GetFeatures:
			p = user.U64(1<<virtio.FeatureVersion1 | 1<<user.FeatureProtocol | virtio.RingFeatures)
		case user.GetProtocolFeatures:
			p = user.U64(f.protocol)
		case user.GetQueueNum:
			p = user.U64(1)
		case user.GetMaxMemSlots:
			p = user.U64(32)
		case user.GetConfig:
			p = user.Config{Size: 8, Data: make([]byte, 8)}
		case user.GetVringBase:
			p = user.VringState{}
		case user.GetInflightFD:
			f.inflight(c, m)
			continue
		default:
			if !m.WantsAck() {
				continue
			}
			p = user.U64(0)
		}
		_ = c.Answer(m, p)
	}
}

func (f *fake) inflight(c *user.Conn, m *user.Message) {
	fd, err := unix.MemfdCreate("inflight", unix.MFD_CLOEXEC)
	if err != nil {
		f.Error(err)
		return
	}
	defer unix.Close(fd)
	_ = c.Answer(m, user.Inflight{Size: 4096, Queues: 1, QueueSize: 256}, fd)
}

func silent(*user.Conn, *user.Message) {}

// says answers with a payload, whatever was asked.
func says(p user.Payload, fds ...int) misbehave {
	return func(c *user.Conn, m *user.Message) { _ = c.Answer(m, p, fds...) }
}

func hangsUp(c *user.Conn, _ *user.Message) { c.Close() }

// asks sends a request in place of an answer.
func asks(c *user.Conn, m *user.Message) { _ = c.Send(user.Request(m.Request), false, user.U64(0)) }

func (f *fake) spec() frontend.Spec {
	return frontend.Spec{
		Type: virtiotest.TypeEcho, Queues: 1, ConfigSize: 8, Dial: frontend.Socket(f.path), Timeout: virtiotest.Patience,
	}
}

// soon is how long to wait for an answer that does not come.
const soon = 100 * time.Millisecond

// TestBadBackend has a back-end do wrong while it is asked what it can do.
func TestBadBackend(t *testing.T) {
	for _, c := range []struct {
		name    string
		request user.Request
		wrong   misbehave
		want    error
		text    string
	}{
		{"no answer", user.GetFeatures, silent, frontend.ErrTimeout, "GET_FEATURES: connection"},
		{"hangs up", user.GetFeatures, hangsUp, frontend.ErrLost, "GET_FEATURES"},
		{"a request", user.GetFeatures, asks, user.ErrFlags, "reply to GET_FEATURES"},
		{"too short", user.GetFeatures, says(nil), user.ErrSize, "reply to GET_FEATURES"},
		{"too long", user.GetFeatures, says(user.Log{}), user.ErrSize, "reply to GET_FEATURES"},
		{"a descriptor", user.GetFeatures, says(user.U64(0), 0), user.ErrDescriptors, "reply to GET_FEATURES"},
		{"legacy", user.GetFeatures, says(user.U64(1 << user.FeatureProtocol)), nil, "no VIRTIO_F_VERSION_1"},
		{"no queues", user.GetQueueNum, says(user.U64(0)), nil, "the back-end has 0 queues, want 1"},
		{"no configuration", user.GetProtocolFeatures, says(user.U64(0)), nil, "no configuration space"},
		{"configuration refused", user.GetConfig, says(nil), frontend.ErrRefused, "GET_CONFIG"},
		{"less configuration", user.GetConfig, says(user.Config{Size: 4, Data: make([]byte, 4)}), frontend.ErrRefused, "4 bytes at 0, want 8"},
		{"other configuration", user.GetConfig, says(user.Config{Offset: 8, Size: 8, Data: make([]byte, 8)}), frontend.ErrRefused, "8 bytes at 8"},
		{"two answers", user.GetQueueNum, func(c *user.Conn, m *user.Message) {
			_ = c.Answer(m, user.U64(1))
			_ = c.Answer(m, user.U64(1))
		}, nil, ""},
	} {
		f := newFake(t)
		f.set(c.request, c.wrong)
		spec := f.spec()
		if errors.Is(c.want, frontend.ErrTimeout) {
			spec.Timeout = soon // nothing is answered before
		}
		dev, err := frontend.Open(context.Background(), spec)
		if err == nil {
			dev.Close()
			if c.text != "" {
				t.Errorf("%s: no error", c.name)
			}
			continue
		}
		if !strings.Contains(err.Error(), c.text) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: error = %v, want %q and %v", c.name, err, c.text, c.want)
		}
	}
}

// TestBadStart has a back-end refuse the start of the device: it needs a reset. It
// works once the back-end thinks better of it.
func TestBadStart(t *testing.T) {
	for _, r := range []user.Request{
		user.SetFeatures, user.SetMemTable, user.SetInflightFD, user.SetVringNum, user.SetVringBase, user.SetVringAddr,
		user.SetVringErr, user.SetVringCall, user.SetVringKick, user.SetVringEnable,
	} {
		f := newFake(t)
		f.set(r, says(user.U64(7)))
		dev := open(t, f.spec())
		g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
		g.Negotiate(0)
		g.AddRing(0, 16, 0)
		g.SetInterrupts(1)
		g.DriverOK()
		g.WaitNeedsReset()
		if err := errors.Join(g.Reports()...); !errors.Is(err, frontend.ErrRefused) || !contains(err, r.String()) {
			t.Errorf("%v: reports %v", r, err)
		}
		f.set(r, nil)
		wait(t, dev)
		g.Start(0, 16)
		g.ResetDevice()
	}
}

// TestOldBackend has one that knows nothing of protocol features: it answers what it
// must and acknowledges nothing, and its rings are enabled from the start.
func TestOldBackend(t *testing.T) {
	f := newFake(t)
	f.set(user.GetFeatures, says(user.U64(1<<virtio.FeatureVersion1)))
	for _, r := range []user.Request{user.GetProtocolFeatures, user.SetProtocolFeatures, user.GetQueueNum, user.SetVringEnable, user.GetInflightFD} {
		f.set(r, func(*user.Conn, *user.Message) { t.Errorf("it was sent %v", r) })
	}
	spec := f.spec()
	spec.ConfigSize = 0
	g := virtiotest.New(t, virtiotest.Kinds()[0], open(t, spec), virtiotest.Options{Shared: true})
	for range 2 {
		if agreed := g.Start(^uint64(0), 16); agreed&virtio.RingFeatures != 0 {
			t.Errorf("features %#x", agreed)
		}
		g.ResetDevice()
	}
}

// wait waits until there is a back-end.
func wait(t testing.TB, dev *frontend.Device) {
	t.Helper()
	for deadline := time.Now().Add(virtiotest.Patience); !dev.Connected(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatal("no back-end")
		}
	}
}

// TestBadStop has a back-end that does not stop its ring: the reset is over all the
// same, and the connection too.
func TestBadStop(t *testing.T) {
	for name, w := range map[string]misbehave{"silent": silent, "short": says(nil), "hangs up": hangsUp, "asks": asks} {
		f := newFake(t)
		var r virtiotest.Reports
		spec := f.spec()
		spec.Report = r.Add
		dev := open(t, spec)
		g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
		g.Start(0, 16)
		f.set(user.GetVringBase, w)
		if name == "silent" {
			dev.SetTimeout(soon)
		}
		g.ResetDevice()
		if err := errors.Join(r.All()...); !errors.Is(err, frontend.ErrLost) || !contains(err, "GET_VRING_BASE") {
			t.Errorf("%s: reports %v", name, err)
		}
		f.set(user.GetVringBase, nil)
		wait(t, dev)
		g.Start(0, 16)
		g.ResetDevice()
	}
}

// TestOnce has the device fail with its back-end.
func TestOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := start(t, path, virtiotest.NewEcho(1, 64))
	dev := open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(path), Once: true})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(0, 16)
	probeEcho(g)
	stop()
	g.WaitNeedsReset()
	if err := errors.Join(g.Reports()...); !errors.Is(err, frontend.ErrLost) {
		t.Errorf("reports %v, want ErrLost", err)
	}
}

// TestNobodyThere has a driver reset and start the device while there is no back-end.
func TestNobodyThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := start(t, path, virtiotest.NewEcho(2, 64))
	dev := open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 2, ConfigSize: 16, Dial: frontend.Socket(path)})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(^uint64(0), 16)
	probeEcho(g)
	stop()
	for dev.Connected() {
		time.Sleep(100 * time.Microsecond)
	}
	for range 3 {
		g.Start(^uint64(0), 16)
	}
	g.ResetQueue(1)
	g.WriteConfig(8, []byte{1})
	out := g.Out(4)
	head := g.Rings[0].Offer(g.In([]byte("late")), out)
	g.Kick(0)
	start(t, path, virtiotest.NewEcho(2, 64))
	if u := g.WaitUsed(0); u.Head != uint32(head) || string(g.Bytes(out.GPA, 4)) != "late" {
		t.Errorf("chain %+v came back with %q", u, g.Bytes(out.GPA, 4))
	}
	g.AddRing(1, 16, 0)
	g.SetInterrupts(2)
	probeEcho(g)
}

// TestLesserBackend has a back-end come that lacks a feature which the driver has: it
// is left alone, and one that has it is taken.
func TestLesserBackend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := start(t, path, virtiotest.NewEcho(1, 64))
	var r virtiotest.Reports
	dev := open(t, frontend.Spec{Type: virtiotest.TypeEcho, Queues: 1, Dial: frontend.Socket(path), Report: r.Add})
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(^uint64(0), 16)
	probeEcho(g)
	stop()
	_ = os.Remove(path)
	stop = start(t, path, lesser{virtiotest.NewEcho(1, 64)})
	for deadline := time.Now().Add(virtiotest.Patience); ; time.Sleep(100 * time.Microsecond) {
		if err := errors.Join(r.All()...); err != nil && contains(err, "lacks features 0x1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("reports %v", r.All())
		}
	}
	stop()
	_ = os.Remove(path)
	start(t, path, virtiotest.NewEcho(1, 64))
	probeEcho(g)
}

// lesser is an Echo without its own feature.
type lesser struct{ virtio.Device }

func (l lesser) Features() uint64 { return virtio.RingFeatures }

func TestNetRequests(t *testing.T) {
	f := newFake(t)
	var mtu, enable atomic.Int32
	f.set(user.NetSetMTU, func(c *user.Conn, m *user.Message) { mtu.Add(1); _ = c.Answer(m, user.U64(0)) })
	dev := open(t, f.spec())
	if err := dev.SetMTU(1400); err != nil || mtu.Load() != 1 {
		t.Errorf("SetMTU: %v, %d requests", err, mtu.Load())
	}
	if err := dev.EnableQueue(0, false); err == nil {
		t.Error("a queue of a device that is not active was enabled")
	}
	g := virtiotest.New(t, virtiotest.Kinds()[0], dev, virtiotest.Options{Shared: true})
	g.Start(0, 16)
	f.set(user.SetVringEnable, func(c *user.Conn, m *user.Message) { enable.Add(1); _ = c.Answer(m, user.U64(0)) })
	if err := dev.EnableQueue(0, false); err != nil || enable.Load() != 1 {
		t.Errorf("EnableQueue: %v, %d requests", err, enable.Load())
	}
	if err := dev.EnableQueue(1, true); err == nil {
		t.Error("a queue that is not there was enabled")
	}
	f.set(user.GetProtocolFeatures, says(user.U64(f.protocol&^user.Protocol(user.ProtocolMTU))))
	if err := open(t, f.spec()).SetMTU(1400); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SetMTU: %v, want ErrUnsupported", err)
	}
}

// TestLostKick has a back-end go away that may have taken a kick without looking, or
// answered without calling: the next one finds a kick, the driver a call.
func TestLostKick(t *testing.T) {
	f := newFake(t)
	dev := open(t, f.spec())
	g := newRingGuest(t)
	if err := dev.Activate(g.activation(t)); err != nil {
		t.Fatal(err)
	}
	if g.kick.Pending() || g.call.Pending() {
		t.Error("the first start kicks, or calls")
	}
	f.set(user.SetVringEnable, hangsUp)
	if err := dev.EnableQueue(0, true); !errors.Is(err, frontend.ErrLost) {
		t.Errorf("error = %v, want ErrLost", err)
	}
	f.set(user.SetVringEnable, nil)
	g.wait(t, "a kick", g.kick.Pending)
	g.wait(t, "a call", g.call.Pending)
	dev.Reset()
}
