package nettest

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/thread"
)

// WireType is an EtherType for local experiments (IEEE 802): frames of it are nobody's but the test's.
const WireType = 0x88b5

// wireHeader is the length of the header before each frame at the tap, as a device of virtio 1 has it (section 5.1.6).
const wireHeader = 12

// Wire is a tap (IFF_VNET_HDR) in a network namespace of its own, and a packet socket on the link that it makes, which gets
// the frames of WireType alone: the far end of the cable that a network card is plugged into. The namespace goes with the
// last of the two.
type Wire struct {
	Tap    *os.File // non-blocking
	Socket int
}

// NewWire makes one. It is taken away with the test.
func NewWire(t testing.TB) *Wire {
	t.Helper()
	w := &Wire{Socket: -1}
	var err error
	thread.Throwaway(func() { err = w.open() })
	t.Cleanup(func() {
		if w.Socket >= 0 {
			unix.Close(w.Socket)
		}
		if w.Tap != nil {
			w.Tap.Close()
		}
	})
	if err != nil {
		t.Fatalf("make a tap: %v", err)
	}
	return w
}

func (w *Wire) open() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	tap, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	w.Tap = os.NewFile(uintptr(tap), "tap0")
	request, err := unix.NewIfreq("tap0")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(tap, unix.TUNSETIFF, request); err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(tap, unix.TUNSETVNETHDRSZ, wireHeader); err != nil {
		return err
	}
	if w.Socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(w.Socket, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(w.Socket, unix.SIOCSIFFLAGS, request); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(w.Socket, unix.SIOCGIFINDEX, request); err != nil {
		return err
	}
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(w.Socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	// packet(7): the protocol is in network order.
	var proto [2]byte
	binary.BigEndian.PutUint16(proto[:], WireType)
	return unix.Bind(w.Socket, &unix.SockaddrLinklayer{
		Protocol: binary.NativeEndian.Uint16(proto[:]), Ifindex: int(request.Uint32()),
	})
}

// Send sends a frame to the card.
func (w *Wire) Send(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := unix.Write(w.Socket, frame); err != nil {
		t.Fatalf("send to the tap's link: %v", err)
	}
}

// Receive is the next frame that the card sends.
func (w *Wire) Receive(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 2048)
	n, _, err := unix.Recvfrom(w.Socket, b, 0)
	if err != nil {
		t.Fatalf("receive from the tap's link: %v", err)
	}
	return b[:n]
}
