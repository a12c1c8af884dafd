package dhcp

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestAnswerer asks through a tap, as a VM would, in a network namespace that ends with the test.
func TestAnswerer(t *testing.T) {
	testenv.Need(t, testenv.NetNS, testenv.TUN)
	l := lease()
	var tap *os.File
	var a *Answerer
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		made <- func() (err error) {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			if tap, err = openTap(); err != nil {
				return err
			}
			a, err = Start("tap0", l)
			return err
		}()
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	if err := tap.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// What is no request of the machine's goes unanswered, and disturbs nothing.
	for _, frame := range [][]byte{
		make([]byte, 60),
		request(t, &l, func(q *layers.DHCPv4) { q.ClientHWAddr = []byte{2, 9, 9, 9, 9, 9} }, kind(layers.DHCPMsgTypeDiscover)),
		request(t, &l, nil, kind(layers.DHCPMsgTypeDiscover)),
	} {
		if _, err := tap.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, maxFrame)
	for {
		n, err := tap.Read(buf)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if n < 42 || buf[12] != 8 || buf[13] != 0 || buf[23] != unix.IPPROTO_UDP {
			continue // the link says things of its own
		}
		answer, _, _ := read(t, buf[:n])
		if got := option(answer, layers.DHCPOptMessageType); got != string([]byte{byte(layers.DHCPMsgTypeOffer)}) {
			t.Errorf("message type %x", got)
		}
		break
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Error(err)
	}
}

func openTap() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r, _ := unix.NewIfreq("tap0")
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return nil, err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s)
	up, _ := unix.NewIfreq("tap0")
	up.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, up); err != nil {
		return nil, err
	}
	// A port of a bridge, as a VM's tap is.
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
		return nil, err
	}
	bridge, err := netlink.LinkByName("br0")
	if err != nil {
		return nil, err
	}
	port, err := netlink.LinkByName("tap0")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(netlink.LinkSetMaster(port, bridge), netlink.LinkSetUp(bridge)); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tap0"), nil
}

func TestBadLease(t *testing.T) {
	for _, l := range []Lease{{}, {MAC: lease().MAC, Address: lease().Address}} {
		if a, err := Start("lo", l); err == nil {
			a.Close(context.Background())
			t.Errorf("Start took %+v", l)
		}
	}
	if a, err := Start("no-such-link", lease()); err == nil {
		a.Close(context.Background())
		t.Error("Start took a link that is not there")
	}
}
