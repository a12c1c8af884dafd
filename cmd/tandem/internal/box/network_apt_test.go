package box_test

import (
	"net"
	"strings"
	"testing"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
)

// TestAPT has apt in a container download a package from a mirror on the host's side of the bridge.
func TestAPT(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS)
	mirror, root := nettest.NewMirror(t), nettest.NewRootFS(t)
	mirror.Client(root)
	inNetNS(t, func() {
		l, err := net.Listen("tcp", ":8000")
		if err != nil {
			t.Error(err)
			return
		}
		mirror.Serve(l)
		got := b.tandem("run", "--rm", "--rootfs", root.Dir, "/fetch", "8000")
		if digest, _, _ := strings.Cut(got.stdout, " "); got.status != 0 || digest != mirror.SHA256 {
			t.Errorf("apt in a container: %+v, want %s", got, mirror.SHA256)
		}
	})
	b.empty()
}
