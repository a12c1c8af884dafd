package net

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"tandem/virtio/virtiotest"
)

// command sends a command, and gives the answer.
func command(g *virtiotest.Guest, q int, class, cmd byte, data ...byte) byte {
	g.Helper()
	answer := g.Out(1)
	g.Bytes(answer.GPA, 1)[0] = 0xaa
	pieces := []virtiotest.Piece{g.In([]byte{class, cmd})}
	if len(data) > 0 {
		pieces = append(pieces, g.In(data))
	}
	if u := g.Do(q, append(pieces, answer)...); u.Len != 1 {
		g.Errorf("command %d %d: %d bytes were written, want 1", class, cmd, u.Len)
	}
	got := g.Bytes(answer.GPA, 1)[0]
	g.ReuseFrom(answer.GPA)
	return got
}

func le16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func table(macs ...[6]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(macs)))
	for _, m := range macs {
		b = append(b, m[:]...)
	}
	return b
}

func tagged(to [6]byte, vlan uint16) []byte {
	b := frame(to, 100, 1)
	binary.BigEndian.PutUint16(b[HeaderSize+12:], vlanTag)
	binary.BigEndian.PutUint16(b[HeaderSize+14:], vlan)
	return b
}

func TestFilter(t *testing.T) {
	me, other := [6]byte(mac), [6]byte{0x52, 0x54, 0, 9, 9, 9}
	group, group2 := [6]byte{0x33, 0x33, 0, 0, 0, 1}, [6]byte{0x01, 0, 0x5e, 0, 0, 2}
	many := slices.Repeat([][6]byte{{2}}, maxFilterMACs+1)
	type cmd struct {
		class, cmd byte
		data       []byte
	}
	off := cmd{classRX, rxPromisc, []byte{0}}
	for _, test := range []struct {
		name  string
		cmds  []cmd
		frame []byte
		want  bool
	}{
		{"at first all", nil, frame(other, 60, 1), true},
		{"own", []cmd{off}, frame(me, 60, 1), true},
		{"another's", []cmd{off}, frame(other, 60, 1), false},
		{"broadcast", []cmd{off}, frame(broadcast, 60, 1), true},
		{"group", []cmd{off}, frame(group, 60, 1), false},
		{"promiscuous again", []cmd{off, {classRX, rxPromisc, []byte{1}}}, frame(other, 60, 1), true},
		{"all groups", []cmd{off, {classRX, rxAllMult, []byte{1}}}, frame(group, 60, 1), true},
		{"all single", []cmd{off, {classRX, rxAllUni, []byte{1}}}, frame(other, 60, 1), true},
		{"no groups", []cmd{off, {classRX, rxAllMult, []byte{1}}, {classRX, rxNoMulti, []byte{1}}}, frame(group, 60, 1), false},
		{"no single", []cmd{off, {classRX, rxNoUni, []byte{1}}}, frame(me, 60, 1), false},
		{"no broadcast", []cmd{off, {classRX, rxNoBcast, []byte{1}}}, frame(broadcast, 60, 1), false},
		{"group of the table", []cmd{off, {classMAC, macTableSet, append(table(), table(group2, group)...)}}, frame(group, 60, 1), true},
		{"group beside the table", []cmd{off, {classMAC, macTableSet, append(table(), table(group2)...)}}, frame(group, 60, 1), false},
		{"second address", []cmd{off, {classMAC, macTableSet, append(table(other), table()...)}}, frame(other, 60, 1), true},
		{"table too long", []cmd{off, {classMAC, macTableSet, append(table(many...), table()...)}}, frame(other, 60, 1), true},
		{"the other kind's table", []cmd{off, {classMAC, macTableSet, append(table(many...), table()...)}}, frame(group, 60, 1), false},
		{"new address", []cmd{off, {classMAC, macAddrSet, other[:]}}, frame(other, 60, 1), true},
		{"old address", []cmd{off, {classMAC, macAddrSet, other[:]}}, frame(me, 60, 1), false},
		{"VLAN", []cmd{off}, tagged(me, 7), false},
		{"VLAN added", []cmd{off, {classVLAN, vlanAdd, le16(7)}}, tagged(me, 7|5<<13), true},
		{"VLAN removed", []cmd{off, {classVLAN, vlanAdd, le16(7)}, {classVLAN, vlanDel, le16(7)}}, tagged(me, 7), false},
		{"VLAN while promiscuous", nil, tagged(me, 7), true},
		{"cut short behind the addresses", []cmd{off}, frame(me, ethernetHeader, 1), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, d, _, ends := plug(t, Spec{})
			g.Start(^uint64(0), 64)
			for _, c := range test.cmds {
				if a := command(g, 2, c.class, c.cmd, c.data...); a != ackOK {
					t.Fatalf("command %d %d %x: answer %d", c.class, c.cmd, c.data, a)
				}
			}
			// After it a frame that the filter takes in any case: by what comes first one sees.
			last := frame([6]byte(mac), 80, 77)
			buffers := post(g, 0, 1600, 1600)
			sendEnd(t, ends[0], test.frame)
			if test.want {
				if got, _ := received(g, 0, buffers); !bytes.Equal(got, test.frame) {
					t.Errorf("received %x, want %x", got, test.frame)
				}
				return
			}
			waitFor(t, "a filtered frame", func() bool {
				_, rx := d.Stats(0)
				return rx.Drops[DropFiltered] == 1
			})
			if a := command(g, 2, classRX, rxPromisc, 1); a != ackOK {
				t.Fatal("promiscuous: refused")
			}
			sendEnd(t, ends[0], last)
			if got, _ := received(g, 0, buffers); !bytes.Equal(got, last) {
				t.Errorf("received %x, want %x", got, last)
			}
		})
	}
}

// TestBadCommands: each is answered with an error, and changes nothing.
func TestBadCommands(t *testing.T) {
	g, d, p, _ := plug(t, Spec{Pairs: 2})
	g.Start(^uint64(0)&^(1<<FeatureGuestUFO), 64)
	before := *d.filter.now.Load()
	offloads, pairs := p.now()
	for _, c := range []struct {
		name       string
		class, cmd byte
		data       []byte
	}{
		{"no data", classRX, rxPromisc, nil},
		{"too much data", classRX, rxPromisc, []byte{0, 0}},
		{"neither on nor off", classRX, rxPromisc, []byte{2}},
		{"unknown mode", classRX, 6, []byte{1}},
		{"no table", classMAC, macTableSet, nil},
		{"half a table", classMAC, macTableSet, table()},
		{"table that ends early", classMAC, macTableSet, append(table(), 1, 0, 0, 0, 2, 2)},
		{"table of 4 billion", classMAC, macTableSet, append(table(), 0xff, 0xff, 0xff, 0xff)},
		{"bytes behind the table", classMAC, macTableSet, append(append(table(), table()...), 0)},
		{"short address", classMAC, macAddrSet, []byte{2, 0, 0}},
		{"a group's address", classMAC, macAddrSet, []byte{1, 0, 0, 0, 0, 0}},
		{"nobody's address", classMAC, macAddrSet, make([]byte, 6)},
		{"unknown MAC command", classMAC, 2, mac},
		{"VLAN 4096", classVLAN, vlanAdd, le16(4096)},
		{"VLAN of a byte", classVLAN, vlanAdd, []byte{1}},
		{"unknown VLAN command", classVLAN, 2, le16(1)},
		{"no pairs", classMQ, mqPairsSet, le16(0)},
		{"too many pairs", classMQ, mqPairsSet, le16(3)},
		{"pairs of a byte", classMQ, mqPairsSet, []byte{1}},
		{"unknown MQ command", classMQ, 1, le16(1)},
		{"offload not agreed on", classGuestOffloads, offloadsSet, le64(1<<FeatureGuestCSum | 1<<FeatureGuestUFO)},
		{"offload that needs another", classGuestOffloads, offloadsSet, le64(1 << FeatureGuestTSO4)},
		{"no offload", classGuestOffloads, offloadsSet, le64(1 << FeatureMergeable)},
		{"offloads of 4 bytes", classGuestOffloads, offloadsSet, make([]byte, 4)},
		{"unknown announce command", classAnnounce, 1, nil},
		{"announce with data", classAnnounce, announceAck, []byte{0}},
		{"unknown class", 6, 0, nil},
	} {
		if a := command(g, 4, c.class, c.cmd, c.data...); a != ackErr {
			t.Errorf("%s: answer %d, want %d", c.name, a, ackErr)
		}
	}
	// Commands cut short, and one that is too long.
	for _, text := range [][]byte{nil, {0}, make([]byte, maxCommand+1)} {
		answer := g.Out(1)
		pieces := []virtiotest.Piece{answer}
		if text != nil {
			pieces = []virtiotest.Piece{g.In(text), answer}
		}
		g.Do(4, pieces...)
		if a := g.Bytes(answer.GPA, 1)[0]; a != ackErr {
			t.Errorf("command of %d bytes: answer %d", len(text), a)
		}
	}
	if after := *d.filter.now.Load(); !same(before, after) {
		t.Errorf("the filter is %+v, was %+v", after, before)
	}
	if o, n := p.now(); o != offloads || n != pairs {
		t.Errorf("offloads %#x, pairs %d; were %#x, %d", o, n, offloads, pairs)
	}
	// One without room for an answer is no command.
	g.Rings[4].Offer(g.In([]byte{0, 0, 1}))
	g.Kick(4)
	g.WaitNeedsReset()
}

func same(a, b filter) bool {
	return a.mac == b.mac && a.promisc == b.promisc && a.allMulti == b.allMulti && a.allUni == b.allUni &&
		a.manyMulti == b.manyMulti && a.manyUni == b.manyUni && a.noMulti == b.noMulti && a.noUni == b.noUni &&
		a.noBcast == b.noBcast && slices.Equal(a.unicast, b.unicast) && slices.Equal(a.multicast, b.multicast) && *a.vlans == *b.vlans
}

// TestCommandsNotAgreedOn: a driver that has not agreed on a feature cannot use it.
func TestCommandsNotAgreedOn(t *testing.T) {
	g, _, _, _ := plug(t, Spec{Pairs: 2})
	g.Start(1<<FeatureCtrlVQ, 64)
	for _, c := range []struct {
		class, cmd byte
		data       []byte
	}{
		{classRX, rxPromisc, []byte{0}},
		{classMAC, macTableSet, append(table(), table()...)},
		{classMAC, macAddrSet, mac},
		{classVLAN, vlanAdd, le16(1)},
		{classAnnounce, announceAck, nil},
		{classMQ, mqPairsSet, le16(1)},
		{classGuestOffloads, offloadsSet, le64(0)},
	} {
		// Without VIRTIO_NET_F_MQ the control queue is the third.
		if a := command(g, 2, c.class, c.cmd, c.data...); a != ackErr {
			t.Errorf("command %d %d: answer %d, want %d", c.class, c.cmd, a, ackErr)
		}
	}
}

func TestOffloads(t *testing.T) {
	g, _, p, _ := plug(t, Spec{})
	agreed := g.Start(^uint64(0), 64)
	if o, _ := p.now(); o != GuestOffloads || agreed&GuestOffloads != o {
		t.Errorf("the backend was told %#x, want %#x", o, GuestOffloads)
	}
	const some = 1<<FeatureGuestCSum | 1<<FeatureGuestTSO4
	if a := command(g, 2, classGuestOffloads, offloadsSet, le64(some)...); a != ackOK {
		t.Fatalf("answer %d", a)
	}
	if o, _ := p.now(); o != some {
		t.Errorf("the backend was told %#x, want %#x", o, some)
	}
	g.ResetDevice()
	if o, _ := p.now(); o != 0 {
		t.Errorf("the backend was told %#x by a reset, want 0", o)
	}
}

// TestFeaturesNeedEachOther: a driver that takes TSO and no checksums gets neither.
func TestFeaturesNeedEachOther(t *testing.T) {
	g, _, p, _ := plug(t, Spec{})
	g.Start(1<<FeatureGuestTSO4|1<<FeatureGuestECN, 64)
	if o, _ := p.now(); o != 0 {
		t.Errorf("the backend was told %#x, want 0", o)
	}
	for _, features := range []uint64{0, 1 << FeatureGuestCSum, GuestOffloads | HostOffloads} {
		if got := consistent(features); got != features {
			t.Errorf("consistent(%#x) = %#x", features, got)
		}
	}
	if got := consistent(1<<FeatureMQ | 1<<FeatureCtrlRXExtra | 1<<FeatureCtrlVQ | 1<<FeatureHostECN); got != 1<<FeatureMQ|1<<FeatureCtrlVQ {
		t.Errorf("consistent leaves %#x", got)
	}
}

// TestQueuePairs moves frames over each of several pairs, as far as they are in use.
func TestQueuePairs(t *testing.T) {
	const pairs = 3
	g, _, p, ends := plug(t, Spec{Pairs: pairs})
	g.Start(^uint64(0), 64)
	control := 2 * pairs
	exchange := func(pair int, end *os.File) {
		t.Helper()
		out := frame(broadcast, 99, byte(pair))
		transmit(g, 2*pair+1, out, 1<<20)
		if got := receiveEnd(t, end); !bytes.Equal(got, out) {
			t.Fatalf("pair %d sent %x, want %x", pair, got, out)
		}
		buffers := post(g, 2*pair, 1600)
		in := frame([6]byte(mac), 120, byte(pair))
		sendEnd(t, end, in)
		if got, _ := received(g, 2*pair, buffers); !bytes.Equal(got, in) {
			t.Fatalf("pair %d received %x, want %x", pair, got, in)
		}
	}
	exchange(0, ends[0])
	for _, n := range []int{3, 1, 2, 3, 3, 1, 3} {
		if a := command(g, control, classMQ, mqPairsSet, le16(uint16(n))...); a != ackOK {
			t.Fatalf("%d pairs: answer %d", n, a)
		}
		if _, got := p.now(); got != n {
			t.Fatalf("the backend uses %d pairs, want %d", got, n)
		}
		for pair := range n {
			exchange(pair, ends[pair])
		}
	}
	g.ResetDevice()
	if _, got := p.now(); got != 1 {
		t.Errorf("the backend uses %d pairs after a reset, want 1", got)
	}
}

func TestConfig(t *testing.T) {
	g, d, _, _ := plug(t, Spec{Pairs: 2, MTU: 9000, Speed: 10000})
	read := func() []byte {
		b := make([]byte, configSize+8)
		g.ReadConfig(0, b)
		return b
	}
	want := append(slices.Clone([]byte(mac)), 1, 0, 2, 0, 0x28, 0x23, 0x10, 0x27, 0, 0, 1)
	want = append(want, make([]byte, configSize+8-len(want))...)
	if got := read(); !bytes.Equal(got, want) {
		t.Errorf("configuration space\n%x, want\n%x", got, want)
	}
	g.Start(^uint64(0), 64)
	g.WriteConfig(0, []byte{2, 2, 2, 2, 2, 2})
	if got := read(); !bytes.Equal(got, want) {
		t.Errorf("a driver has written to it: %x", got)
	}
	generation := g.Generation()
	d.SetLink(false)
	if !g.WaitConfig(virtiotest.Patience) {
		t.Fatal("no interrupt when the link went down")
	}
	if s := g.Config16(configStatus); s != 0 {
		t.Errorf("status %d, want 0", s)
	}
	if g.Generation() == generation {
		t.Error("the generation is the same after a change")
	}
	d.SetLink(true)
	d.Announce()
	if s := g.Config16(configStatus); s != statusLinkUp|statusAnnounce {
		t.Errorf("status %d, want %d", s, statusLinkUp|statusAnnounce)
	}
	if a := command(g, 4, classAnnounce, announceAck); a != ackOK {
		t.Errorf("answer %d", a)
	}
	if s := g.Config16(configStatus); s != statusLinkUp {
		t.Errorf("status %d, want %d", s, statusLinkUp)
	}
	other := []byte{0x52, 0x54, 0, 9, 9, 9}
	if a := command(g, 4, classMAC, macAddrSet, other...); a != ackOK || !bytes.Equal(read()[:6], other) {
		t.Errorf("answer %d, address %x, want %x", a, read()[:6], other)
	}
}

// TestPairsWithoutControl has the queues of two pairs and nobody who says how many are to be used, as behind vhost-user:
// the control queue, and the feature that needs it, are the front-end's.
func TestPairsWithoutControl(t *testing.T) {
	g, d, p, ends := plug(t, Spec{Pairs: 2})
	g.Start(^uint64(0)&^(1<<FeatureCtrlVQ|1<<FeatureMQ), 64)
	if _, pairs := p.now(); pairs != 2 {
		t.Errorf("frames come to %d pairs, want 2", pairs)
	}
	for pair := range 2 {
		want := frame(broadcast, 100, byte(pair))
		transmit(g, 2*pair+1, want, 1<<20)
		if got := receiveEnd(t, ends[pair]); !bytes.Equal(got, want) {
			t.Errorf("pair %d sent %x, want %x", pair, got, want)
		}
		buffers := post(g, 2*pair, 1600)
		sendEnd(t, ends[pair], want)
		if got, _ := received(g, 2*pair, buffers); !bytes.Equal(got, want) {
			t.Errorf("pair %d received %x, want %x", pair, got, want)
		}
	}
	d.StopQueue(2)
	if _, pairs := p.now(); pairs != 1 {
		t.Errorf("without the second receive queue frames come to %d pairs, want 1", pairs)
	}
}
