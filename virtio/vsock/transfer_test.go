package vsock

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"tandem/virtio/virtiotest"
)

// pattern is the byte at a place of a stream, which differs between streams.
func pattern(seed, at int) byte { return byte(at ^ at>>8 ^ at>>16 ^ seed*37) }

// produce writes n bytes of a stream in chunks of random sizes, and pauses now and then if it is slow.
func produce(w io.Writer, seed, n int, slow bool) error {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	chunk := make([]byte, 200<<10)
	for at := 0; at < n; {
		size := min(1+rng.IntN(1<<rng.IntN(18)), n-at)
		for i := range size {
			chunk[i] = pattern(seed, at+i)
		}
		if _, err := w.Write(chunk[:size]); err != nil {
			return fmt.Errorf("write at %d of %d: %w", at, n, err)
		}
		at += size
		if slow && rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		}
	}
	return nil
}

// consume reads n bytes of a stream.
func consume(r io.Reader, seed, n int, slow bool) error {
	rng := rand.New(rand.NewPCG(uint64(seed), 2))
	chunk := make([]byte, 200<<10)
	for at := 0; at < n; {
		got, err := r.Read(chunk[:1+rng.IntN(1<<rng.IntN(18))])
		for i, b := range chunk[:got] {
			if want := pattern(seed, at+i); b != want {
				return fmt.Errorf("byte %d of stream %d is %#x, want %#x", at+i, seed, b, want)
			}
		}
		at += got
		if err != nil && at < n {
			return fmt.Errorf("read at %d of %d: %w", at, n, err)
		}
		if slow && rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		}
	}
	return nil
}

// exchange moves n bytes each way at once, with contents checked.
func exchange(guest, host io.ReadWriter, seed, n int, slowGuest, slowHost bool) error {
	errs := make(chan error, 4)
	go func() { errs <- produce(guest, seed, n, slowGuest) }()
	go func() { errs <- consume(host, seed, n, slowHost) }()
	go func() { errs <- produce(host, seed+1, n, slowHost) }()
	go func() { errs <- consume(guest, seed+1, n, slowGuest) }()
	for range 4 {
		if err := <-errs; err != nil {
			return err // the others wait in vain now: the end of the test ends them
		}
	}
	return nil
}

// modelKinds are the transports that a guest with two processors can use at once: their queues' interrupts are separate.
func modelKinds() (kinds []virtiotest.Kind) {
	for _, k := range virtiotest.Kinds() {
		if k.MSIX && !k.ViaConfig {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// hostEnd accepts what the model dials.
func hostEnd(t testing.TB, m *model, l net.Listener, port uint32) (*sock, net.Conn) {
	t.Helper()
	s, err := m.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(3 * virtiotest.Patience)); err != nil {
		t.Fatal(err)
	}
	return s, c
}

// TestTransfer moves bytes both ways at once, with readers and writers that are quick or slow, over all data paths that
// differ, into receive buffers of several sizes.
func TestTransfer(t *testing.T) {
	for _, kind := range modelKinds() {
		for _, size := range []uint32{100, 4096, 60000} {
			t.Run(fmt.Sprintf("%s/%d", kind.Name, size), func(t *testing.T) {
				dev := newDevice(t, Spec{})
				m := newModel(t, kind, dev, size)
				l, err := dev.Listen(9)
				if err != nil {
					t.Fatal(err)
				}
				n := 4 << 20
				if size == 100 || testing.Short() {
					n = 300 << 10
				}
				for i, slow := range [][2]bool{{false, false}, {true, false}, {false, true}} {
					s, c := hostEnd(t, m, l, 9)
					if slow != [2]bool{} {
						n = min(n, 1<<20)
					}
					if err := exchange(s, c, 10*i, n, slow[0], slow[1]); err != nil {
						t.Errorf("slow %v: %v", slow, err)
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
				if st := dev.Stats(); st.Drops != nil || m.unknown != 0 {
					t.Errorf("stats %+v, %d packets for nobody", st, m.unknown)
				}
			})
		}
	}
}

// TestManyConnections has 200 connections at once, from both sides, each of which moves bytes both ways. One of them
// does not read: it keeps nobody from moving.
func TestManyConnections(t *testing.T) {
	for _, kind := range modelKinds() {
		t.Run(kind.Name, func(t *testing.T) {
			dev := newDevice(t, Spec{})
			m := newModel(t, kind, dev, 4096)
			l, err := dev.Listen(9)
			if err != nil {
				t.Fatal(err)
			}
			m.listen(80)
			_, lazyHost := hostEnd(t, m, l, 9)
			go produce(lazyHost, 7, 1<<20, false) // to a guest that does not read
			lazyGuest, _ := hostEnd(t, m, l, 9)
			go produce(lazyGuest, 7, 1<<20, false) // to a program that does not

			const each, n = 100, 60_000
			ends := make(chan error, 2*each)
			for i := range each {
				s, c := hostEnd(t, m, l, 9)
				go func() { ends <- exchange(s, c, 1000+2*i, n, i%10 == 0, i%10 == 1) }()
			}
			for i := range each {
				c := dialSocket(t, dev.spec.Path)
				if err := c.SetDeadline(time.Now().Add(3 * virtiotest.Patience)); err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(c, "CONNECT 80\n")
				s, err := m.accept()
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					var line [16]byte
					k := 0
					for k == 0 || line[k-1] != '\n' {
						if _, err := io.ReadFull(c, line[k:k+1]); err != nil {
							ends <- err
							return
						}
						k++
					}
					ends <- exchange(s, c, 2000+2*i, n, i%10 == 0, i%10 == 1)
				}()
			}
			if st := dev.Stats(); st.Open != 2*each+2 {
				t.Errorf("%d connections, want %d", st.Open, 2*each+2)
			}
			for range 2 * each {
				if err := <-ends; err != nil {
					t.Error(err)
				}
			}
			if st := dev.Stats(); st.Drops != nil {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// TestChurn connects and ends, one after the other, from both sides at once: ports are used again.
func TestChurn(t *testing.T) {
	dev := newDevice(t, Spec{MaxConnections: 16})
	m := newModel(t, kind, dev, 4096)
	m.listen(80)
	l, err := dev.Listen(9)
	if err != nil {
		t.Fatal(err)
	}
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range rounds {
			s, err := m.dial(9)
			if err != nil {
				t.Errorf("round %d: dial: %v", i, err)
				return
			}
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			if err := exchange(s, c, i, 100, false, false); err != nil {
				t.Error(err)
			}
			s.Close()
			c.Close()
		}
	})
	group.Go(func() {
		for i := range rounds {
			c, err := dev.DialContext(context.Background(), 80)
			if err != nil {
				t.Errorf("round %d: dial: %v", i, err)
				return
			}
			s, err := m.accept()
			if err != nil {
				t.Error(err)
				return
			}
			if err := exchange(s, c, i, 100, false, false); err != nil {
				t.Error(err)
			}
			c.Close()
			if b, err := io.ReadAll(s); err != nil || len(b) != 0 {
				t.Errorf("after the end: %q, %v", b, err)
			}
		}
	})
	group.Wait()
	waitFor(t, "the end of all connections", func() bool { return dev.Stats().Open == 0 })
	if st := dev.Stats(); st.Drops != nil || st.Refused != 0 || st.FromGuest != uint64(rounds) || st.FromHost != uint64(rounds) {
		t.Errorf("stats %+v", st)
	}
}

// TestResetUnderLoad pulls the device out from under connections that move bytes.
func TestResetUnderLoad(t *testing.T) {
	for _, kind := range modelKinds() {
		t.Run(kind.Name, func(t *testing.T) {
			dev := newDevice(t, Spec{})
			l, err := dev.Listen(9)
			if err != nil {
				t.Fatal(err)
			}
			m := newModel(t, kind, dev, 4096)
			var group sync.WaitGroup
			for i := range 10 {
				s, c := hostEnd(t, m, l, 9)
				group.Go(func() { produce(s, i, 1<<30, false) })
				group.Go(func() { io.Copy(io.Discard, c) })
				group.Go(func() { produce(c, i, 1<<30, false) })
				group.Go(func() { io.Copy(io.Discard, s) })
			}
			waitFor(t, "some bytes", func() bool {
				st := dev.Stats()
				return st.FromGuestBytes > 1<<20 && st.ToGuestBytes > 1<<20
			})
			m.sends.Lock() // Notify is several accesses to registers
			m.SetStatus(0)
			m.sends.Unlock()
			m.stop()
			group.Wait()
			waitFor(t, "the end of all connections", func() bool { return dev.Stats().Open == 0 })
		})
	}
}
