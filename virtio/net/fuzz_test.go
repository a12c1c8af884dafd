package net

import (
	"testing"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

// FuzzDevice plays registers, rings and commands of a hostile driver. Afterwards the card has to work.
func FuzzDevice(f *testing.F) {
	kind := virtiotest.Kinds()[0]
	card, _, ends := newCard(f, Spec{Pairs: 2})
	f.Add([]byte(virtiotest.Record(f, kind, card, func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 16)
		command(g, 4, classMQ, mqPairsSet, le16(2)...)
		transmit(g, 1, frame(broadcast, 60, 1), 20)
		receiveEnd(f, ends[0])
		buffers := post(g, 2, 500)
		sendEnd(f, ends[1], frame([6]byte(mac), 300, 1))
		received(g, 2, buffers)
	})))
	virtiotest.Fuzz(f, kind, func(t testing.TB) virtio.Device {
		d, _, _ := newCard(t, Spec{Pairs: 2})
		return d
	}, func(g *virtiotest.Guest) {
		g.Start(^uint64(0), 64)
		if a := command(g, 4, classRX, rxAllMult, 1); a != ackOK {
			g.Errorf("answer %d", a)
		}
	})
}

// FuzzCommand plays commands alone, right into the one who carries them out.
func FuzzCommand(f *testing.F) {
	for _, c := range [][]byte{
		{classRX, rxPromisc, 1},
		append([]byte{classMAC, macTableSet}, append(table([6]byte(mac)), table(broadcast)...)...),
		append([]byte{classMAC, macAddrSet}, mac...),
		append([]byte{classVLAN, vlanAdd}, le16(4095)...),
		append([]byte{classMQ, mqPairsSet}, le16(2)...),
		append([]byte{classGuestOffloads, offloadsSet}, le64(1<<FeatureGuestCSum)...),
		{classAnnounce, announceAck},
	} {
		f.Add(c, frame([6]byte(mac), 60, 1)[HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, c, frame []byte) {
		d, p, _ := newCard(t, Spec{Pairs: 2})
		d.agreed = d.features
		d.filter.follow(d.agreed)
		if len(c) < 2 {
			return
		}
		d.command(c[0], c[1], c[2:])
		if len(frame) >= ethernetHeader {
			d.filter.accepts(frame)
		}
		if o, _ := p.now(); o&^GuestOffloads != 0 {
			t.Errorf("the backend was told %#x", o)
		}
		if n := d.pairs.Load(); n < 0 || n > 2 {
			t.Errorf("%d pairs", n)
		}
	})
}
