package console

import (
	"testing"

	"tandem/virtio/virtiotest"
)

func TestConformance(t *testing.T) {
	t.Run("multiport", func(t *testing.T) { virtiotest.Suite{New: newPeer, Probe: probe}.Run(t) })
	t.Run("single", func(t *testing.T) { virtiotest.Suite{New: newSingle, Probe: probe}.Run(t) })
}
