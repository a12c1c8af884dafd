package box_test

import (
	"fmt"
	"net"
	"testing"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
	"tandem/network/netns"
)

// manyConnects are a day's, of a container that somebody asks every twenty seconds.
const manyConnects = 24 * 60 * 3

// TestConnects has a container make and take a day's worth of short connections. None is lost, and nothing of them is
// left in the process that relays them, nor in the kernel, which tracks them.
func TestConnects(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS)
	root := nettest.NewRootFS(t)
	nettest.Connects(root)
	withPort(t, ":8000", func(l net.Listener, ns *netns.NS) {
		answered := nettest.Answer(t, l)
		b.must("run", "-d", "--name", "day", "-p", "8001:8000", "--rootfs", root.Dir, "--", "connects", "serve", ":8000")
		b.await("day", "listening")
		if err := nettest.ShortTracking(); err != nil {
			t.Error(err)
			return
		}
		settled := nettest.Watch(t, ns.Do, b.record("day").Keeper.PID, nettest.Slack)

		const toGateway = "exec connects dial $(ip -4 route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'):%d %d"
		b.must("exec", "day", "sh", "-c", fmt.Sprintf(toGateway, 8000, manyConnects)) // to the host
		if n := answered(); n != manyConnects {
			t.Errorf("the host answered %d connections, want %d", n, manyConnects)
		}
		dial := func(network, address string) (c net.Conn, err error) {
			err = ns.Do(func() error {
				c, err = net.Dial(network, address)
				return err
			})
			return c, err
		}
		if err := nettest.Dial(dial, "127.0.0.1:8001", manyConnects); err != nil { // from the host: relayed
			t.Error(err)
		}
		b.must("run", "--rm", "--rootfs", root.Dir, "--", "sh", "-c", fmt.Sprintf(toGateway, 8001, manyConnects)) // from another container
		settled()
		b.must("rm", "-f", "day")
	})
	b.empty()
}
