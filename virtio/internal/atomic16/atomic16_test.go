package atomic16

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// shared is memory that the race detector does not watch: it knows nothing of the
// order that this package gives.
func shared(t testing.TB) []byte {
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

func TestNeighboursAreLeftAlone(t *testing.T) {
	mem := shared(t)
	for i := range mem[:8] {
		mem[i] = 0xaa
	}
	Store(At(mem, 2), 0x1234)
	want := [8]byte{0xaa, 0xaa, 0x34, 0x12, 0xaa, 0xaa, 0xaa, 0xaa}
	if got := [8]byte(mem[:8]); got != want {
		t.Errorf("memory after Store = %x, want %x", got, want)
	}
	if got := Load(At(mem, 2)); got != 0x1234 {
		t.Errorf("Load = %#x, want 0x1234", got)
	}
}

// TestStoreIsAFence is Dekker's problem, and the ring's: two sides each store to
// one field and then load the other's. If both loads came before the stores, both
// sides would go to sleep. It fails in a moment on two processors if Store is a
// plain MOV.
func TestStoreIsAFence(t *testing.T) {
	mem := shared(t)
	x, y := At(mem, 0), At(mem, 128)
	const rounds = 200_000
	var (
		saw   [2][rounds]uint16
		group sync.WaitGroup
	)
	// A spinning barrier: the two sides have to be within a store buffer's reach of
	// each other, round after round. Each counts its rounds in its own field.
	at := [2]*uint16{At(mem, 256), At(mem, 384)}
	side := func(me int, mine, other *uint16) {
		defer group.Done()
		for i := range rounds {
			round := uint16(i + 1)
			Store(at[me], round)
			for spins := 0; Load(at[1-me])-round > 1; spins++ {
				if spins%1000 == 999 {
					runtime.Gosched() // there may be one processor only
				}
				if spins%2000 == 1999 { // which the other side's thread may wait for
					_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
				}
			}
			Store(mine, round)
			saw[me][i] = Load(other)
		}
	}
	group.Add(2)
	go side(0, x, y)
	go side(1, y, x)
	group.Wait()
	for i := range rounds {
		if round := uint16(i + 1); saw[0][i]-round > 1 && saw[1][i]-round > 1 {
			t.Fatalf("round %d: side 0 saw %d and side 1 saw %d: both stores came after both loads", i+1, saw[0][i], saw[1][i])
		}
	}
}
