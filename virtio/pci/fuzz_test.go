package pci_test

import (
	"testing"

	"tandem/virtio"
	"tandem/virtio/virtiotest"
)

func newEcho(testing.TB) virtio.Device { return virtiotest.NewEcho(2, 16) }

// FuzzFunction has a guest do anything to configuration space, to the BAR and to
// memory. The seeds are what real drivers do.
func FuzzFunction(f *testing.F) {
	for _, k := range []virtiotest.Kind{
		kindMSIX,
		kindINTx,
		{PCI: true, MSIX: true, ViaConfig: true},
	} {
		f.Add([]byte(virtiotest.Record(f, k, newEcho(f), func(g *virtiotest.Guest) {
			g.Start(^uint64(0), 16)
			ping(g)
			g.ResetQueue(0)
			g.AddRing(0, 8, ^uint64(0))
			p := g.AsPCI()
			p.Move(0xd0000000)
			if p.MSIX != 0 {
				p.Mask(1, true)
				p.Pending(1)
			}
			g.WriteConfig(8, []byte{1, 2, 3, 4})
			g.Config64(0)
		})))
	}
	virtiotest.Fuzz(f, kindMSIX, newEcho, ping)
}
