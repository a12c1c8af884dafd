package vmm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/internal/testenv"
	"tandem/virtio"
	"tandem/virtio/net"
	"tandem/virtio/virtiotest"
	"tandem/vmm/layout"
)

// Where a second vCPU has what it does, below 64 KiB as it stays in real mode.
const (
	raceCode   = 0x2000
	raceStop   = 0x8F00 // the first vCPU's word: enough
	raceHalted = 0x8F02 // the second one's: it has stopped
	raceDesc   = 0x9000
	raceAvail  = 0x9400
	raceUsed   = 0x9800
	raceSize   = 0x440 // of descriptors and available ring
	raceImages = 0xA000
	raceFrame  = 0xD000
	raceCount  = 8
	raceRing   = 16
)

// racer copies images over the rings, one after the other, until it is told to stop.
func racer() []byte {
	g := real16()
	g.emit(0x31, 0xC0, 0x8E, 0xD8, 0x8E, 0xC0, 0xFC) // xor ax, ax; mov ds, ax; mov es, ax; cld
	outer := g.Len()
	g.emit(0xBB).imm(raceImages).emit(0xBA).imm(raceCount) // mov bx, images; mov dx, count
	next := g.Len()
	g.emit(0x89, 0xDE, 0xBF).imm(raceDesc)                // mov si, bx; mov di, rings
	g.emit(0xB9).imm(raceSize/2).emit(0xF3, 0xA5)         // mov cx, size/2; rep movsw
	g.emit(0x83, 0x3E).imm(raceStop).emit(0x00)           // cmp word [stop], 0
	g.emit(0x75, 9)                                       // jne: over the three below
	g.emit(0x81, 0xC3).imm(raceSize).emit(0x4A).jnz(next) // add bx, size; dec dx; jnz next
	g.jmp(outer)                                          // jmp outer
	g.store16(raceHalted, 1)                              // mov word [halted], 1
	return g.halt().Bytes()
}

// raceImage is rings full of what may be right and what may not.
func raceImage(random *rand.Rand) []byte {
	b := make([]byte, raceSize)
	addrs := []uint64{raceFrame, raceFrame, raceFrame, raceDesc, raceUsed, playerRAM - 4, layout.PCIWindow, ^uint64(0) - 8, 0}
	lengths := []uint32{net.HeaderSize + 60, net.HeaderSize + 60, 1, 0, 64, 70000, 0xFFFFFFFF}
	flags := []uint16{0, 0, 0, virtiotest.Next, virtiotest.Write, virtiotest.Indirect, virtiotest.Next | virtiotest.Write, 7}
	for i := range raceRing {
		if random.IntN(2) == 0 { // a good one
			virtiotest.PutDesc(b[16*i:], raceFrame, net.HeaderSize+60, 0, 0)
			continue
		}
		virtiotest.PutDesc(b[16*i:], addrs[random.IntN(len(addrs))], lengths[random.IntN(len(lengths))],
			flags[random.IntN(len(flags))], uint16(random.IntN(raceRing+2)))
	}
	avail := b[raceAvail-raceDesc:]
	binary.LittleEndian.PutUint16(avail[2:], uint16(random.IntN(raceRing+1)))
	for i := range raceRing {
		binary.LittleEndian.PutUint16(avail[4+2*i:], uint16(random.IntN(raceRing+1)))
	}
	return b
}

// TestHostileRacingDriver has a second vCPU write over the rings of a card while the card reads them: whatever is checked, it is
// another thing a moment later. All three queues are in the same place, too.
func TestHostileRacingDriver(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.NetNS, testenv.TUN, testenv.NotLab)
	const rounds, kicks = 60, 20
	for _, transport := range []Transport{PCI, MMIO} {
		for _, path := range netPaths {
			t.Run(fmt.Sprintf("%s-%s", transport, path), func(t *testing.T) {
				g := newNetGame(t, transport, path)
				random := rand.New(rand.NewPCG(1, 2))
				for i := range uint64(raceCount) {
					copy(g.Bytes(raceImages+raceSize*i, raceSize), raceImage(random))
				}
				copy(g.Bytes(raceFrame, 1000), header{}.frame("from the race"))
				copy(g.Bytes(raceCode, 0x100), racer())
				g.write32(layout.LAPIC+0xF0, 0x1FF)                 // enable the local APIC
				g.write32(layout.LAPIC+0x300, 0xC4500)              // INIT to all but self
				g.write32(layout.LAPIC+0x300, 0xC4600|raceCode>>12) // SIPI
				for round := range rounds {
					g.title = fmt.Sprintf("round %d", round)
					g.negotiate(g.victim, 1<<net.FeatureCtrlVQ|virtio.RingFeatures)
					for i := range 3 {
						g.victim.queue(g.player, i, raceRing, raceDesc, raceAvail, raceUsed)
						g.victim.enable(g.player, i)
					}
					g.victim.status(g.player, statusDriverOK)
					for range kicks {
						for i := range 3 {
							g.victim.notify(g.player, i, 1)
						}
					}
					g.witness.works(g.player)
				}
				g.reset(g.victim)
				g.write32(raceStop, 1)
				g.until(raceHalted, 0xFFFF, 1)
				last := header{}.frame("the last one")
				r := g.start(0)[netTransmit]
				g.send(r, []virtiotest.Piece{g.In(last)})
				g.play()

				for {
					b, err := g.cable.next()
					if err != nil {
						t.Fatalf("the last frame did not come out of the tap: %v", err)
					}
					if bytes.Equal(b, last[net.HeaderSize:]) {
						break
					}
				}
				g.mu.Lock()
				defer g.mu.Unlock()
				broken := map[string]int{}
				for _, r := range append(g.reportsThere, g.reports...) {
					if _, reason, is := strings.Cut(r, "): "); is { // of a queue.Error
						broken[reason]++
					}
				}
				if len(broken) < 3 {
					t.Errorf("the card was broken in %d ways only: %v", len(broken), broken)
				}
				t.Logf("%d resets in %d rounds: %v", len(g.reports), rounds, broken)
			})
		}
	}
}
