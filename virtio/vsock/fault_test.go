package vsock

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/virtio/memory"
	"tandem/virtio/virtiotest"
)

// shrinking is memory of which its owner can take a part away, as a vhost-user peer can.
func shrinking(t *testing.T) (mem *memory.Space, shrink func()) {
	t.Helper()
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "guest")
	t.Cleanup(func() { file.Close() })
	const size = 4 << 20
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	mem, err = memory.New(memory.Region{Bytes: b})
	if err != nil {
		t.Fatal(err)
	}
	return mem, func() {
		if err := file.Truncate(feederBuffers); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFault: receive buffers that are gone are the end of the activation, not of the monitor, whoever comes across them.
func TestFault(t *testing.T) {
	for _, test := range []string{"control packet, by the transmit queue's thread", "data, by the switchboard's"} {
		t.Run(test, func(t *testing.T) {
			mem, shrink := shrinking(t)
			dev := newDevice(t, Spec{})
			x := newPacketFeeder(t, dev, mem)
			l, err := dev.Listen(9)
			if err != nil {
				t.Fatal(err)
			}
			request := packet(header{
				srcCID: guestCID, dstCID: HostCID, srcPort: 1, dstPort: 9, typ: typeStream, op: opRequest, bufAlloc: 1000,
			}, nil)
			send := func() {
				b, err := mem.Slice(feederPacket, headerSize)
				if err != nil {
					t.Fatal(err)
				}
				copy(b, request)
				x.tx.Offer(virtiotest.Piece{GPA: feederPacket, Len: headerSize})
				dev.Notify(transmitQueue)
			}
			if test[0] == 'c' {
				shrink()
				send()
			} else {
				send()
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				waitFor(t, "the response", func() bool { return x.rx.UsedIdx() == 1 })
				shrink()
				if _, err := c.Write(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("read %d bytes, %v: want the end", n, err)
				} else if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
					t.Error(err)
				}
			}
			select {
			case err := <-x.failed:
				if !errors.Is(err, memory.ErrFault) && !errors.Is(err, unix.EFAULT) {
					t.Errorf("failed with %v", err)
				}
			case <-time.After(virtiotest.Patience):
				t.Fatal("the device has not failed")
			}
			if n := dev.Stats().Open; n != 0 {
				t.Errorf("%d connections", n)
			}
			dev.Reset()
		})
	}
}
