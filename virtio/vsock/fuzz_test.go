package vsock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// FuzzDevice plays registers and rings of a hostile driver. Afterwards the device has to work.
func FuzzDevice(f *testing.F) {
	dev := newDevice(f, Spec{})
	l := listenSocket(f, dev, 9)
	f.Add([]byte(virtiotest.Record(f, kind, dev, func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 16)
		d := adopt(g, 4)
		p := d.call(1, 9)
		c := acceptSocket(f, l)
		p.write([]byte("hello"))
		fmt.Fprint(c, "hello to you")
		p.read(12)
		p.send(opShutdown, shutBoth)
		d.expect(opReset)
	})))
	virtiotest.Fuzz(f, kind, func(t testing.TB) virtio.Device { return newDevice(t, Spec{}) }, func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 16)
		probe(g)
	})
}

// FuzzPackets plays packets alone: each is a length of two bytes, and what goes into the transmit queue, header and all.
// Two ports of the host's answer, one of them slowly, as nobody reads; one of the guest's is asked for. Whatever comes,
// the device's books balance.
func FuzzPackets(f *testing.F) {
	seed := func(packets ...[]byte) {
		var in []byte
		for _, p := range packets {
			in = binary.LittleEndian.AppendUint16(in, uint16(len(p)))
			in = append(in, p...)
		}
		f.Add(in)
	}
	h := func(op uint16, n int, flags, taken uint32, port uint32) []byte {
		return packet(header{
			srcCID: guestCID, dstCID: HostCID, srcPort: 1, dstPort: port, len: uint32(n), typ: typeStream, op: op,
			flags: flags, bufAlloc: 1 << 16, fwdCnt: taken,
		}, bytes.Repeat([]byte{'x'}, n))
	}
	for _, port := range []uint32{9, 10} {
		seed(h(opRequest, 0, 0, 0, port), h(opData, 100, 0, 0, port), h(opCreditRequest, 0, 0, 0, port), h(opShutdown, 0, shutBoth, 0, port))
		seed(h(opRequest, 0, 0, 0, port), h(opShutdown, 0, shutSend, 0, port), h(opShutdown, 0, shutReceive, 0, port), h(opReset, 0, 0, 0, port))
		seed(h(opRequest, 0, 0, 0, port), h(opData, 5000, 0, 0, port), h(opData, 5000, 0, 0, port))
		seed(h(opRequest, 0, 0, 0, port), h(opRequest, 0, 0, 0, port), h(opCreditUpdate, 0, 0, 99, port))
	}
	seed(h(opResponse, 0, 0, 0, firstPort), h(opData, 7, 0, 0, firstPort))
	mem := virtiotest.NewMemory(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		dev := newDevice(t, Spec{Buffer: minBuffer, MaxConnections: 8})
		for _, port := range []uint32{9, 10} {
			l, err := dev.Listen(port)
			if err != nil {
				t.Fatal(err)
			}
			if port == 9 {
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						c.Write(make([]byte, 1000))
						go func() {
							defer c.Close()
							b := make([]byte, 512)
							for n := 1; n > 0; n, _ = c.Read(b) {
							}
						}()
					}
				}()
			}
		}
		x := newPacketFeeder(t, dev, mem)
		for len(in) >= 2 {
			n := int(binary.LittleEndian.Uint16(in))
			in = in[2:]
			n = min(n, len(in))
			x.feed(in[:n])
			in = in[n:]
			x.check()
		}
		dev.Reset()
		for _, l := range []uint32{9, 10} {
			dev.board.mu.Lock()
			x := dev.board.listeners[l]
			dev.board.mu.Unlock()
			x.Close()
		}
		waitFor(t, "the end of all connections", func() bool { return dev.Stats().Open == 0 })
	})
}
