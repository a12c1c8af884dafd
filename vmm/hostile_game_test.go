package vmm

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/testenv"
	"tandem/virtio"
	"tandem/virtio/balloon"
	"tandem/virtio/console"
	"tandem/virtio/virtiotest"
	"tandem/virtio/vsock"
	"tandem/vmm/layout"
)

// A game is a machine with a device that is treated badly, its victim, and an entropy device that is not.
type game struct {
	*player
	victim  plug
	prefix  string // of what the victim reports when it needs a reset
	witness *witness

	// What the victim has to report, in order; and what somebody has to who serves its data queues elsewhere.
	elsewhere   bool
	wanted      [][2]string
	wantedThere []string

	mu           sync.Mutex
	reports      []string
	reportsThere []string
}

// newGame puts the witness on the other transport than the victim.
func newGame(t *testing.T, victim Device) *game {
	t.Helper()
	return newSharedGame(t, victim, false)
}

// newSharedGame has guest memory that another process can map, or none but this one.
func newSharedGame(t *testing.T, victim Device, shared bool) *game {
	t.Helper()
	g := &game{elsewhere: shared, prefix: fmt.Sprintf("virtio: %v needs a reset: ", victim.Type)}
	other := MMIO
	if victim.Transport == MMIO {
		other = PCI
	}
	g.player = newPlayer(t, []Device{victim, rngDevice("witness", other)}, func(device string, err error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.reports = append(g.reports, strings.TrimPrefix(device+": "+err.Error(), victim.Name+": "))
	}, shared)
	pci, mmio := newPCIPlug(g.player, 1), mmioPlug{layout.VirtioMMIO}
	if victim.Transport == MMIO {
		g.victim, g.witness = mmio, newWitness(g.player, pci)
	} else {
		g.victim, g.witness = pci, newWitness(g.player, mmio)
	}
	g.victim.prepare(g.player)
	return g
}

// says holds that the victim reports something, in which both of these stand.
func (g *game) says(what, reason string) { g.wanted = append(g.wanted, [2]string{what, reason}) }

// needsReset waits until the victim asks for a reset, and holds that it says why.
func (g *game) needsReset(reason string) {
	g.victim.untilStatus(g.player, statusNeedsReset, statusNeedsReset)
	g.says(g.prefix, reason)
}

// breaks is needsReset for a queue that was used.
func (g *game) breaks(queue int, reason string) {
	if g.elsewhere && queue != netControl {
		g.wantedThere = append(g.wantedThere, reason)
		reason = "the back-end has failed"
	}
	g.needsReset(reason)
}

// reported is how much the victim has reported by now.
func (g *game) reported() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.reports)
}

// finish plays it all, and holds what was reported.
func (g *game) finish() {
	g.Helper()
	defer func() {
		if g.Failed() {
			g.Logf("reports: %q; elsewhere: %q", g.reports, g.reportsThere)
		}
	}()
	g.play()
	// The guest may have seen that a device needs a reset before the device said why.
	for end := time.Now().Add(testTime); g.reported() < len(g.wanted) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reports) != len(g.wanted) {
		g.Errorf("%d reports, want %d", len(g.reports), len(g.wanted))
	}
	for i := range min(len(g.reports), len(g.wanted)) {
		if got, want := g.reports[i], g.wanted[i]; !strings.HasPrefix(got, want[0]) || !strings.Contains(got, want[1]) {
			g.Fatalf("report %d is %q, want %q", i, got, want)
		}
	}
	// Who serves queues elsewhere may meet a broken one again before all of them are taken back.
	there := g.reportsThere
	for i, want := range g.wantedThere {
		next := slices.IndexFunc(there, func(got string) bool { return strings.Contains(got, want) })
		if next < 0 {
			g.Fatalf("report %d elsewhere, %q, is missing", i, want)
		}
		there = there[next+1:]
	}
	for _, got := range g.reportsThere {
		if !slices.ContainsFunc(g.wantedThere, func(want string) bool { return strings.Contains(got, want) }) {
			g.Fatalf("somebody elsewhere reports %q", got)
		}
	}
}

// breakRing has the victim run with a queue that is broken in one way, and others that are not.
func (g *game) breakRing(queues, broken int, features uint64, b virtiotest.Breakage) {
	g.negotiate(g.victim, features)
	for i := range queues {
		r := g.ring(g.victim, i, 16)
		if i == broken {
			b.Break(g.Guest, r, g.Alloc(4096, 16))
		}
	}
	g.victim.status(g.player, statusDriverOK)
	g.victim.notify(g.player, broken, 1)
	g.breaks(broken, b.Reason)
}

// A badQueue is a queue of a size or at a place where none can be.
type badQueue struct {
	name              string
	size              uint16
	desc, avail, used uint64 // 0 for a good one
	reason            string
}

const goodSize = 16

var badQueueList = []badQueue{
	{name: "no size", reason: "size 0: not a power of two"},
	{name: "size 3", size: 3, reason: "size 3: not a power of two"},
	{name: "larger than the device's", size: 32768, reason: "size 32768: more than"},
	{name: "size 65535", size: 65535, reason: "size 65535: more than"},
	{name: "descriptors outside", size: goodSize, desc: playerRAM, reason: "descriptor table: memory"},
	{name: "descriptors that run out", size: goodSize, desc: playerRAM - 16, reason: "descriptor table: memory"},
	{name: "descriptors that wrap", size: goodSize, desc: ^uint64(0) - 15, reason: "descriptor table: memory"},
	{name: "descriptors at an odd place", size: goodSize, desc: playerMemory + 8, reason: "not aligned to 16"},
	{name: "available ring in the device's own window", size: goodSize, avail: layout.PCIWindow, reason: "available ring: memory"},
	{name: "available ring in the registers", size: goodSize, avail: layout.VirtioMMIO, reason: "available ring: memory"},
	{name: "available ring that wraps", size: goodSize, avail: ^uint64(0) - 1, reason: "available ring: memory"},
	{name: "used ring in the local APIC", size: goodSize, used: layout.LAPIC, reason: "used ring: memory"},
	{name: "used ring above", size: goodSize, used: 1 << 52, reason: "used ring: memory"},
	{name: "used ring at an odd place", size: goodSize, used: playerMemory + 2, reason: "not aligned to 4"},
}

// misplace gives the victim a queue that cannot be.
func (g *game) misplace(i int, features uint64, q badQueue) {
	r := virtiotest.NewRing(g.Mem, goodSize, g.Alloc)
	at := func(bad, good uint64) uint64 {
		if bad != 0 {
			return bad
		}
		return good
	}
	g.negotiate(g.victim, features)
	g.victim.queue(g.player, i, q.size, at(q.desc, r.Desc), at(q.avail, r.Avail), at(q.used, r.Used))
	g.victim.enable(g.player, i)
	g.victim.status(g.player, statusDriverOK)
	g.needsReset(q.reason)
	g.victim.notify(g.player, i, 3) // nobody is there
}

// hostileDevices are the kinds of devices. Those queues that a device only looks at when it has something to say are broken in
// its own package's tests.
var hostileDevices = []struct {
	kind     virtio.Type
	queues   int
	looked   []int  // queues that it looks at when it is kicked
	features uint64 // what their driver has to agree on to have all of them
	open     func(t *testing.T) func() (virtio.Device, error)
}{
	{virtio.TypeBlk, 1, []int{0}, 0, func(t *testing.T) func() (virtio.Device, error) {
		return diskDevice("", PCI, diskFile(t, 1<<20)).Open
	}},
	{virtio.TypeRNG, 1, []int{0}, 0, func(*testing.T) func() (virtio.Device, error) { return rngDevice("", PCI).Open }},
	{virtio.TypeVsock, 3, []int{1}, 0, func(t *testing.T) func() (virtio.Device, error) {
		path := filepath.Join(t.TempDir(), "v.sock")
		return func() (virtio.Device, error) { return vsock.New(vsock.Spec{CID: 3, Path: path}) }
	}},
	{virtio.TypeBalloon, 2, []int{0, 1}, 0, func(*testing.T) func() (virtio.Device, error) {
		return func() (virtio.Device, error) { return balloon.New(balloon.Spec{}) }
	}},
	{virtio.TypeConsole, 6, []int{1, 3, 5}, 1 << console.FeatureMultiport, func(*testing.T) func() (virtio.Device, error) {
		return func() (virtio.Device, error) {
			return console.New(console.Spec{Ports: []console.PortSpec{{Name: "a"}, {Name: "b"}}})
		}
	}},
}

// TestHostileRings has a driver break each queue of each kind of device in every way, over both transports. After each the
// witness answers, and the device starts again.
func TestHostileRings(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.NotLab)
	for _, d := range hostileDevices {
		for _, transport := range []Transport{PCI, MMIO} {
			t.Run(fmt.Sprintf("%v-%s", d.kind, transport), func(t *testing.T) {
				g := newGame(t, Device{Name: "victim", Type: d.kind, Transport: transport, Open: d.open(t)})
				revive := func() {
					g.witness.works(g.player)
					g.negotiate(g.victim, d.features)
					for i := range d.queues {
						g.ring(g.victim, i, goodSize)
					}
					g.victim.status(g.player, statusDriverOK)
					g.victim.untilStatus(g.player, 0xFF, statusDriverOK)
				}
				for i := range d.queues {
					for _, features := range []uint64{0, virtio.RingFeatures} {
						for _, b := range virtiotest.Breakages() {
							if b.Needs&^features == 0 && slices.Contains(d.looked, i) {
								g.title = fmt.Sprintf("queue %d, features %#x: %s", i, features, b.Name)
								g.breakRing(d.queues, i, d.features|features, b)
								revive()
							}
						}
					}
					for _, q := range badQueueList {
						g.title = fmt.Sprintf("queue %d: %s", i, q.name)
						g.misplace(i, d.features, q)
						revive()
					}
				}
				g.finish()
			})
		}
	}
}
