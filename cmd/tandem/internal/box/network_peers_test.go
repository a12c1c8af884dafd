package box_test

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
	"tandem/network/netns"
)

// TestPeers has curl and iperf3 move data between containers and the host.
func TestPeers(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS)
	root := nettest.NewRootFS(t)
	nettest.Peers(root)
	withPort(t, ":8000", func(l net.Listener, ns *netns.NS) {
		digest := nettest.ServePage(t, l)
		if got := b.must("run", "--rm", "--rootfs", root.Dir, "/page", "8000"); got != digest {
			t.Errorf("curl in a container: %q, want %s", got, digest)
		}
		for _, more := range [][]string{nil, {"-R"}} {
			ended := nettest.ServeIPerf3(t, ns.Do, "8001")
			report := b.must(append([]string{"run", "--rm", "--rootfs", root.Dir, "/measure", "8001"}, more...)...)
			nettest.CheckIPerf3(t, report, more != nil)
			ended()
		}
		// A container measures for the host, by the published port, and for another container.
		host := func(more []string) string {
			args := nettest.IPerf3Client("127.0.0.1", "8002", more...)
			return b.finish(exec.CommandContext(t.Context(), args[0], args[1:]...)).stdout
		}
		container := func(more []string) string {
			return b.must(slices.Concat([]string{"run", "--rm", "--rootfs", root.Dir, "/measure", "8002"}, more)...)
		}
		for _, client := range []func([]string) string{host, container} {
			for _, more := range [][]string{nil, {"-R"}} {
				b.must("run", "-d", "--name", "meter", "-p", "8002:8003", "--rootfs", root.Dir, "--", "iperf3", "-s", "-1", "--forceflush", "-p", "8003")
				b.await("meter", nettest.IPerf3Listens+"8003 (test #1)")
				nettest.CheckIPerf3(t, client(more), more != nil)
				if got := b.must("wait", "meter"); strings.TrimSpace(got) != "0" {
					t.Errorf("iperf3 -s in a container ended with %q: %s", got, b.must("logs", "meter"))
				}
				b.must("rm", "meter")
			}
		}
	})
	b.empty()
}
