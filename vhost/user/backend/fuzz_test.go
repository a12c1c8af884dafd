package backend

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/vhost/user"
	"tandem/virtio/virtiotest"
)

// A session of the fuzzer's is a list of messages, each of which is: the request, how
// many descriptors come with it and of what kind, flags, the length of the payload,
// the payload.
const fuzzHeader = 4

// fuzzMessage writes one.
func fuzzMessage(request uint32, fds int, ack bool, payload []byte) []byte {
	flags := byte(0)
	if ack {
		flags = 1
	}
	return append([]byte{byte(request), byte(fds), flags, byte(len(payload))}, payload...)
}

// recorded is what QEMU sent, as a session.
func recorded(t testing.TB) (session []byte) {
	text, err := os.ReadFile("../testdata/qemu-blk.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var code string
		var fds int
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscan(line, &code, &fds); err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(code)
		if err != nil {
			t.Fatal(err)
		}
		session = append(session, fuzzMessage(binary.LittleEndian.Uint32(b), fds, b[4]&8 != 0, b[12:])...)
	}
	return session
}

// logged is a session that logs its dirty pages: in the file of the memory, so that what is marked is the guest's too,
// and not at all in three others.
func logged() (session []byte) {
	word := func(list ...uint64) (b []byte) {
		for _, v := range list {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	}
	for _, m := range []struct {
		request user.Request
		fds     int
		payload []byte
	}{
		{user.SetLogBase, 1, word(memSize/0x1000/8, memSize-0x2000)},
		{user.SetFeatures, 0, word(1<<32 | 1<<30 | 1<<28 | 1<<29 | 1<<user.FeatureLogAll)},
		{user.SetVringAddr, 0, word(user.VringLog<<32, userBase, userBase+0x2000, userBase+0x1000, 0x2000)},
		{user.SetVringKick, 0x11, word(0)},
		{user.SetLogBase, 1, word(8, 0)},
		{user.SetLogBase, 1, word(memSize, 8)},
		{user.SetLogBase, 0x21, word(4096, 0)},
		{user.SetVringAddr, 0, word(user.VringLog<<32, userBase, userBase+0x2000, userBase+0x1000, 1<<64-8)},
		{user.GetVringBase, 0, word(0)},
	} {
		session = append(session, fuzzMessage(uint32(m.request), m.fds, true, m.payload)...)
	}
	return session
}

// started is a session in which a ring runs.
func started() (session []byte) {
	u64 := func(list ...uint64) (b []byte) {
		for _, v := range list {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	}
	const features = 1<<32 | 1<<30 | 1<<28 | 1<<29
	for _, m := range []struct {
		request user.Request
		fds     int
		payload []byte
	}{
		{user.SetProtocolFeatures, 0, u64(uint64(all))},
		{user.SetFeatures, 0, u64(features)},
		{user.SetMemTable, 1, u64(1, 0, memSize, userBase, 0)},
		{user.SetInflightFD, 1, u64(4096, memSize-4096, 1|64<<16)},
		{user.SetVringNum, 0, u64(16 << 32)},
		{user.SetVringAddr, 0, u64(0, userBase, userBase+0x2000, userBase+0x1000, 0)},
		{user.SetVringCall, 0x11, u64(0)},
		{user.SetVringKick, 0x11, u64(0)},
		{user.SetVringEnable, 0, u64(1 << 32)},
		{user.GetVringBase, 0, u64(0)},
	} {
		session = append(session, fuzzMessage(uint32(m.request), m.fds, true, m.payload)...)
	}
	return session
}

// FuzzSession has a front-end say anything, in any order, with any descriptors. The
// server must neither die nor hang, and must serve the next one as if nothing had
// been.
func FuzzSession(f *testing.F) {
	f.Add(recorded(f))
	f.Add(started())
	f.Add(append(started(), recorded(f)...))
	f.Add(append(started(), started()...))
	f.Add(append(started(), logged()...))
	f.Add(append(logged(), started()...))
	f.Fuzz(func(t *testing.T, script []byte) {
		p, s := connect(t, virtiotest.NewEcho(2, 64), Options{InBand: true})
		area, _ := p.mem.Slice(0, memSize)
		copy(area[0x1000:], script) // an available ring, and whatever else is found there
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		kinds := []int{int(p.file.Fd()), p.kicks[0].Fd(), pipe[0], p.call.Fd()}
		for sent := 0; len(script) >= fuzzHeader && sent < 64; sent++ {
			request, fds, flags, n := script[0], script[1], script[2], int(script[3])
			script = script[fuzzHeader:]
			n = min(n, len(script))
			payload := user.Raw(script[:n])
			script = script[n:]
			var list []int
			for range fds & 0xf % 10 {
				list = append(list, kinds[fds>>4%4])
			}
			if p.Send(user.Request(request), flags&1 != 0, payload, list...) != nil {
				break // the session is over
			}
			if flags&2 != 0 {
				_ = p.kicks[0].Signal()
			}
		}
		done := make(chan struct{})
		go func() { // the answers: a front-end that reads none would be waited for
			defer close(done)
			for {
				m, err := p.Receive()
				if err != nil {
					return
				}
				m.CloseFDs()
			}
		}()
		// All of it has been carried out when this is answered, or the session is over.
		_ = p.Send(user.GetFeatures, false, nil)
		p.shut()
		select {
		case <-p.ended:
		case <-time.After(virtiotest.Patience):
			t.Fatal("the session does not end")
		}
		<-done
		p.Conn.Close()

		p.kicks[0], p.kicks[1], p.call, p.err = p.eventFD(), p.eventFD(), p.eventFD(), p.eventFD()
		clear(area)
		p.free = 0
		p.join(s)
		p.agree(^uint64(0), all)
		p.setMemory()
		p.echo(p.startRing(0, 16))
		p.over()
	})
}
