package console

import (
	"encoding/binary"
	"testing"

	"tandem/virtio/virtiotest"
)

// FuzzDevice plays registers, rings and messages of a hostile driver. Afterwards the device has to work.
func FuzzDevice(f *testing.F) {
	kind := virtiotest.Kinds()[0]
	f.Add([]byte(virtiotest.Record(f, kind, newPeer(f), func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 16)
		say(g, 0, eventDeviceReady, 1)
		expect(g, message{0, eventPortAdd, 1, ""}, message{1, eventPortAdd, 1, ""})
		say(g, 0, eventPortReady, 1)
		say(g, 0, eventPortOpen, 1)
		hear(g)
		g.Do(1, g.In([]byte("to the host")))
		probe(g)
	})))
	virtiotest.Fuzz(f, kind, newPeer, probe)
}

// FuzzControl plays messages alone, and reads all answers after each: they never end up in more than a port can say.
func FuzzControl(f *testing.F) {
	var all []byte
	for _, m := range []message{
		{0, eventDeviceReady, 1, ""},
		{0, eventPortReady, 1, ""},
		{1, eventPortReady, 1, ""},
		{1, eventPortOpen, 1, ""},
		{2, eventPortReady, 0, ""},
		{7, eventPortOpen, 1, ""},
	} {
		all = append(all, m.bytes()...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := New(three())
		if err != nil {
			t.Fatal(err)
		}
		for ; len(in) >= controlSize; in = in[controlSize:] {
			d.control([controlSize]byte(in))
			var buf [controlSize + MaxName]byte
			for n := 0; ; n++ {
				m := d.next(buf[:0])
				if m == nil {
					break
				}
				if n >= 7*len(d.ports) {
					t.Fatalf("%d messages wait", n)
				}
				if id := binary.LittleEndian.Uint32(m); id >= uint32(len(d.ports)) {
					t.Fatalf("a message of port %d", id)
				}
			}
		}
	})
}
