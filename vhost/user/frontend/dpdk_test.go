package frontend_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	virtionet "tandem/virtio/net"
	"tandem/virtio/virtiotest"
)

var (
	cardMAC = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	peerMAC = net.HardwareAddr{0x52, 0x54, 0, 9, 8, 7}
)

// testpmd is DPDK's program that passes packets on, with one port: it swaps the addresses of each frame that
// comes, and sends it back. It needs no huge pages: its memory is a memfd then, of pages of 4 KiB, which it can
// share as well.
type testpmd struct {
	t    *testing.T
	cmd  *exec.Cmd
	said bytes.Buffer
}

func startTestpmd(t *testing.T, port string) *testpmd {
	t.Helper()
	cpus := fmt.Sprintf("@(0-%d)", runtime.NumCPU()-1)
	p := &testpmd{t: t, cmd: exec.Command("dpdk-testpmd",
		"--no-huge", "-m", "64", "--no-pci", "--no-shconf", "--no-telemetry",
		"--lcores", "0"+cpus+",1"+cpus, // the main one, and one that polls: on any processor
		"--vdev", port, "--", "--total-num-mbufs=2048", "--forward-mode=macswap",
		"--disable-link-check", // which takes 9 seconds if the link comes up at the wrong moment
		"--no-flush-rx")}       // it would throw away what came first
	p.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+t.TempDir())
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if _, err := p.cmd.StdinPipe(); err != nil { // it goes on until a line comes
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("testpmd %s: %s", port, p.said.String())
		}
	})
	return p
}

func (p *testpmd) kill() {
	p.t.Helper()
	stop(p.t, p.cmd)
}

// swapped is a frame of n bytes, and the same one as it comes back.
func swapped(n int, seed byte) (sent, back []byte) {
	sent = make([]byte, virtionet.HeaderSize+n)
	frame := sent[virtionet.HeaderSize:]
	copy(frame, peerMAC)
	copy(frame[6:], cardMAC)
	binary.BigEndian.PutUint16(frame[12:], 0x88b5) // IEEE 802, for local experiments
	for i := 14; i < n; i++ {
		frame[i] = seed + byte(i*7)
	}
	back = bytes.Clone(sent)
	copy(back[virtionet.HeaderSize:], cardMAC)
	copy(back[virtionet.HeaderSize+6:], peerMAC)
	return sent, back
}

// frameSizes are lengths of frames: an mbuf has room for about 2 KiB of one.
var frameSizes = []int{60, 61, 590, 1514, 2100, 4000, 9014}

// useSwitch has a guest send frames to one who swaps the addresses, and checks what comes back.
func useSwitch(t *testing.T, g *virtiotest.Guest, rounds int) {
	t.Helper()
	const buffers, size = 64, 1536
	base := g.Alloc(0, 1)
	for round := range rounds {
		var posted []virtiotest.Piece
		for range buffers {
			p := g.Out(size)
			g.Rings[0].Offer(p)
			posted = append(posted, p)
		}
		g.Kick(0)
		var want [][]byte
		for i, n := range frameSizes {
			sent, back := swapped(n, byte(round*len(frameSizes)+i))
			want = append(want, back)
			g.Rings[1].Offer(g.In(sent))
		}
		g.Kick(1)
		for range want {
			g.WaitUsed(1)
		}
		for i := range want {
			var got []byte
			for have, parts := 0, 1; have < parts; have++ {
				u := g.WaitUsed(0)
				part := g.Bytes(posted[0].GPA, uint64(u.Len))
				if have == 0 {
					parts = int(binary.LittleEndian.Uint16(part[10:])) // num_buffers
					clear(part[10:12])
				}
				posted = posted[1:]
				got = append(got, part...)
			}
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("round %d: a frame of %d bytes came back as %d:\n%x\nwant\n%x", round, frameSizes[i],
					len(got)-virtionet.HeaderSize, got, want[i])
			}
		}
		// The buffers that are left would be used before those of the next round.
		for len(posted) > 0 {
			sent, back := swapped(60, byte(len(posted)))
			g.Rings[1].Offer(g.In(sent))
			g.Kick(1)
			g.WaitUsed(1)
			u := g.WaitUsed(0)
			got := g.Bytes(posted[0].GPA, uint64(u.Len))
			clear(got[10:12])
			if !bytes.Equal(got, back) {
				t.Fatalf("round %d: %x came back, want %x", round, got, back)
			}
			posted = posted[1:]
		}
		g.ReuseFrom(base)
	}
}

// TestDPDKBackend has DPDK serve a card of ours, die, and serve it again. It listens, or it connects.
func TestDPDKBackend(t *testing.T) {
	testenv.Need(t, testenv.DPDK)
	for _, connects := range []bool{false, true} {
		t.Run(map[bool]string{false: "listens", true: "connects"}[connects], func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			port := "net_vhost0,iface=" + socket + ",queues=1"
			var r virtiotest.Reports
			spec := frontend.Spec{
				Type: virtio.TypeNet, Queues: 2, QueueSize: virtionet.QueueSize, Dial: frontend.Socket(socket), Report: r.Add,
			}
			if connects {
				port += ",client=1"
				l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				spec.Dial = frontend.Accept(l)
			}
			dpdk := startTestpmd(t, port)
			server, err := openSoon(spec)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			card, err := virtionet.New(virtionet.Spec{MAC: cardMAC, Server: server})
			if err != nil {
				t.Fatal(err)
			}
			defer card.Close()
			g := virtiotest.New(t, virtiotest.Kinds()[0], card, virtiotest.Options{Shared: true})
			for range 2 {
				g.Start(^uint64(0), 256)
				useSwitch(t, g, 20)
			}
			dpdk.kill()
			if !connects {
				_ = os.Remove(socket) // as it does when it ends by itself
			}
			startTestpmd(t, port)
			useSwitch(t, g, 20)
			g.ResetDevice()
			t.Log(r.All())
		})
	}
}

// cord is a card's cable that ends in the test's hands.
type cord struct{ file *os.File }

func newCord(t *testing.T) (cord, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := os.NewFile(uintptr(fds[1]), "end of the cable")
	t.Cleanup(func() { end.Close() })
	return cord{file: os.NewFile(uintptr(fds[0]), "cable")}, end
}

func (c cord) Pairs() int               { return 1 }
func (c cord) File(int) *os.File        { return c.file }
func (c cord) Features() uint64         { return 0 }
func (c cord) SetOffloads(uint64) error { return nil }
func (c cord) SetPairs(int) error       { return nil }
func (c cord) Close() error             { return c.file.Close() }

// TestDPDKFrontend has DPDK drive a card of ours, whose cable ends here. Its memory is a memfd of small
// pages.
func TestDPDKFrontend(t *testing.T) {
	testenv.Need(t, testenv.DPDK)
	cable, end := newCord(t)
	card, err := virtionet.New(virtionet.Spec{Backend: cable})
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	socket := filepath.Join(t.TempDir(), "s")
	defer start(t, socket, card)()
	for range 2 { // it dies, and another one comes
		dpdk := startTestpmd(t, "net_virtio_user0,path="+socket+",queues=1,queue_size=256,mac="+peerMAC.String())
		b := make([]byte, 1<<16)
		if err := end.SetReadDeadline(time.Now().Add(virtiotest.Patience)); err != nil {
			t.Fatal(err)
		}
		for round := range 50 {
			var want [][]byte
			for i, n := range frameSizes {
				sent, back := swapped(n, byte(round*len(frameSizes)+i))
				want = append(want, back)
				if _, err := end.Write(sent); err != nil {
					t.Fatal(err)
				}
			}
			for i := range want {
				n, err := end.Read(b)
				if n >= virtionet.HeaderSize {
					clear(b[10:virtionet.HeaderSize]) // num_buffers: DPDK leaves what it has received there
				}
				if err != nil || !bytes.Equal(b[:n], want[i]) {
					t.Fatalf("round %d: a frame of %d bytes came back as %x (%v), want\n%x", round, frameSizes[i], b[:n], err, want[i])
				}
			}
		}
		dpdk.kill()
	}
	if tx, rx := card.Stats(0); tx.Packets != rx.Packets || tx.Drops != nil || rx.Drops != nil {
		t.Errorf("stats %+v, %+v: want as many sent as received, and none dropped", tx, rx)
	}
}
