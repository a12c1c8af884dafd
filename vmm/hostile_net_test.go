package vmm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	stdnet "net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/vhost/user/backend"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/virtio/net"
	"tandem/virtio/virtiotest"
)

const (
	netReceive  = 0
	netTransmit = 1
	netControl  = 2 // without VIRTIO_NET_F_MQ

	etherTypeTest = 0x88B5 // IEEE 802, for local experiments
)

var netMAC = stdnet.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// A cable is a tap in a network namespace of its own, and a socket that sees what comes out of it.
type cable struct {
	tap    *os.File
	socket int
}

func newCable(t *testing.T) *cable {
	t.Helper()
	testenv.Need(t, testenv.NetNS, testenv.TUN)
	c := &cable{socket: -1}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, and its namespace, end with the goroutine
		done <- c.open()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(c.socket) })
	return c
}

func (c *cable) open() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq("tap0")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	c.tap = os.NewFile(uintptr(fd), "tap0") // not before: there would be nothing to poll yet
	if err != nil {
		return err
	}
	order := uint16(etherTypeTest>>8 | etherTypeTest&0xFF<<8)
	if c.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(order)); err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_NOARP)
	if err := unix.IoctlIfreq(c.socket, unix.SIOCSIFFLAGS, request); err != nil {
		return err
	}
	link, err := stdnet.InterfaceByName("tap0")
	if err != nil {
		return err
	}
	wait := unix.NsecToTimeval(testTime.Nanoseconds())
	if err := unix.SetsockoptTimeval(c.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	return unix.Bind(c.socket, &unix.SockaddrLinklayer{Protocol: order, Ifindex: link.Index})
}

// next is the next frame that came out of the tap.
func (c *cable) next() ([]byte, error) {
	b := make([]byte, 1<<17)
	n, _, err := unix.Recvfrom(c.socket, b, 0)
	return b[:max(n, 0)], err
}

// netGame is a machine with a network card that is treated badly, and an entropy device that is not.
type netGame struct {
	*game
	cable   *cable
	device  *net.Device // who serves the data queues
	offered uint64      // features of the card

	sent  [][]byte // frames that have to come out of the tap, in order
	drops map[net.Drop]uint64
}

// newNetGame has the card's packets go by one of the data paths.
func newNetGame(t *testing.T, transport Transport, path string) *netGame {
	t.Helper()
	g := &netGame{cable: newCable(t), drops: map[net.Drop]uint64{}}
	begun := make(chan struct{}) // g.game is there, or never will be
	defer close(begun)
	card := netDevice("net0", transport, g.cable)
	card.Direct = path == "exit"
	open := card.Open
	card.Open = func() (virtio.Device, error) {
		d, err := open()
		if err != nil {
			return nil, err
		}
		g.device = d.(*net.Device)
		if path == "vhost-user" {
			d, err = serveElsewhere(t, g.device, func(err error) {
				if <-begun; g.game == nil {
					return
				}
				g.mu.Lock()
				defer g.mu.Unlock()
				g.reportsThere = append(g.reportsThere, err.Error())
			})
		}
		if err == nil {
			g.offered = d.Features()
		}
		return d, err
	}
	g.game = newSharedGame(t, card, path == "vhost-user")
	return g
}

// serveElsewhere has a card's data queues served over a vhost-user connection, by the card that is given. What is returned is a
// card for the machine.
func serveElsewhere(t *testing.T, served *net.Device, report func(error)) (virtio.Device, error) {
	server, err := backend.New(served, backend.Options{Report: report})
	if err != nil {
		return nil, errors.Join(err, served.Close())
	}
	socket := filepath.Join(t.TempDir(), "net.sock")
	l, err := stdnet.ListenUnix("unix", &stdnet.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, served.Close())
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-done, served.Close()); err != nil {
			t.Error(err)
		}
	})
	front, err := frontend.Open(t.Context(), frontend.Spec{
		Type: virtio.TypeNet, Dial: frontend.Socket(socket), Queues: 2, QueueSize: net.QueueSize,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { front.Close() })
	return net.New(net.Spec{MAC: netMAC, Server: front})
}

// netDevice is a card on a cable.
func netDevice(name string, transport Transport, c *cable) Device {
	return Device{
		Name: name, Type: virtio.TypeNet, Transport: transport,
		Open: func() (virtio.Device, error) {
			tap, err := net.NewTap(c.tap)
			if err != nil {
				return nil, err
			}
			return net.New(net.Spec{MAC: netMAC, Backend: tap})
		},
	}
}

// start takes the card up to DRIVER_OK with good rings.
func (g *netGame) start(features uint64) (rings [3]*virtiotest.Ring) {
	g.negotiate(g.victim, features&g.offered|1<<net.FeatureCtrlVQ)
	for i := range rings {
		rings[i] = g.ring(g.victim, i, 16)
		rings[i].EventIdx = false
	}
	g.victim.status(g.player, statusDriverOK)
	return rings
}

// header is a struct virtio_net_hdr_v1 (virtio 1.2, section 5.1.6).
type header struct {
	flags, gsoType                         uint8
	hdrLen, gsoSize, csumStart, csumOffset uint16
}

func (h header) frame(text string) []byte {
	b := []byte{h.flags, h.gsoType}
	for _, v := range []uint16{h.hdrLen, h.gsoSize, h.csumStart, h.csumOffset, 0} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = append(b, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)
	b = append(b, netMAC...)
	b = append(b, etherTypeTest>>8, etherTypeTest&0xFF)
	b = append(b, text...)
	return append(b, make([]byte, max(0, net.HeaderSize+60-len(b)))...)
}

// expect has a frame come out of the tap.
func (g *netGame) expect(b []byte) { g.sent = append(g.sent, b[net.HeaderSize:]) }

// send offers chains on the transmit queue, kicks, and waits for them.
func (g *netGame) send(r *virtiotest.Ring, chains ...[]virtiotest.Piece) {
	for _, c := range chains {
		r.Offer(c...)
	}
	g.victim.notify(g.player, netTransmit, 1)
	g.untilUsed(r, r.AvailIdx())
}

// drop sends a chain that is to be dropped for a reason, and a good frame behind it, on one ring.
func (g *netGame) drop(why net.Drop, pieces ...virtiotest.Piece) {
	r := g.start(virtio.RingFeatures &^ (1 << virtio.FeatureEventIdx))[netTransmit]
	good := header{}.frame("after " + g.title)
	g.expect(good)
	g.send(r, pieces, []virtiotest.Piece{g.In(good)})
	g.drops[why]++
}

// command sends a command on the control queue, and holds what the card answers. want is nil for any.
func (g *netGame) command(r *virtiotest.Ring, want byte, command ...byte) {
	answer := g.Put([]byte{0xAA})
	pieces := []virtiotest.Piece{{GPA: answer, Len: 1, Write: true}}
	if len(command) > 0 {
		pieces = append([]virtiotest.Piece{g.In(command)}, pieces...)
	}
	// One at a time: the guest makes it available.
	r.Put(pieces...)
	g.write32(uint32(r.Avail), uint32(r.AvailIdx())<<16)
	g.victim.notify(g.player, netControl, 1)
	g.untilUsed(r, r.AvailIdx())
	g.wants(fmt.Sprintf("the answer to %x", command[:min(len(command), 16)]), opRead8, uint32(answer), 0xFF, uint32(want))
}

// attack does harm, and shows that the machine and both devices can still be used.
func (g *netGame) attack(name string, do func(g *netGame)) {
	g.title = name
	do(g)
	g.witness.works(g.player)
	r := g.start(0)[netTransmit]
	good := header{}.frame("good after " + name)
	g.expect(good)
	g.send(r, []virtiotest.Piece{g.In(good)})
}

// finish plays it all, and holds what came of it.
func (g *netGame) finish() {
	g.Helper()
	g.game.finish()
	for i, want := range g.sent {
		got, err := g.cable.next()
		if err != nil || !bytes.Equal(got, want) {
			g.Fatalf("frame %d out of the tap is %q (%v), want %q", i, text(got), err, text(want))
		}
	}
	tx, _ := g.device.Stats(0)
	if want := uint64(len(g.sent)); tx.Packets != want || !maps.Equal(tx.Drops, g.drops) {
		g.Errorf("%d frames sent, dropped %v; want %d and %v", tx.Packets, tx.Drops, want, g.drops)
	}
}

func text(frame []byte) string {
	return string(bytes.TrimRight(frame[min(14, len(frame)):], "\x00"))
}

// netAttacks are what a driver does to a network card on any transport.
var netAttacks = []struct {
	name string
	play func(g *netGame)
}{
	{"broken rings", breakRings},
	{"queues that cannot be", badQueues},
	{"no room", noRoom},
	{"frames that are none", badFrames},
	{"headers that make no sense", badHeaders},
	{"commands that make no sense", badCommands},
	{"a queue moved while it runs", moveQueues},
	{"features", badFeatures},
	{"kick storms", kickStorms},
	{"reset in flight", resetInFlight},
	{"registers that cannot be written", writeReadOnly},
}

// netPaths are the data paths that a card is attacked on.
var netPaths = []string{"eventfd", "exit", "vhost-user"}

// TestHostileNetDriver plays a driver that breaks every rule, over both transports and several data paths. After
// each attack the entropy device beside the card answers, and the card itself works after a reset.
func TestHostileNetDriver(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.NetNS, testenv.TUN, testenv.NotLab)
	goroutines := runtime.NumGoroutine()
	for _, transport := range []Transport{PCI, MMIO} {
		for _, path := range netPaths {
			t.Run(fmt.Sprintf("%s-%s", transport, path), func(t *testing.T) {
				for _, a := range netAttacks {
					t.Run(a.name, func(t *testing.T) {
						g := newNetGame(t, transport, path)
						a.play(g)
						g.finish()
					})
				}
			})
		}
	}
	for end := time.Now().Add(testTime); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
}
