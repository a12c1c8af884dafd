package main

import (
	"fmt"
	"net"
	"strings"

	"tandem/internal/nettest"
)

// tryVisitors has programs of others use both queue pairs.
func tryVisitors(g *netGuest) {
	g.t.Helper()
	tryQueues(g)
	tryPeers(g)
	tryConnects(g)
}

// visit puts a root file system into a guest, by way of its network, and has it do something in there. A guest's memory
// has room for one: that of the visit before goes.
func (g *netGuest) visit(port string, fill func(*nettest.RootFS)) (do func(script string) (text, status string)) {
	g.t.Helper()
	root := nettest.NewRootFS(g.t)
	fill(root)
	g.serve(":"+port, root.Archive(), nil)
	g.do("[ ! -d /visit ] || { umount /visit/dev && rm -r /visit; }")
	g.do(fmt.Sprintf("mkdir /visit && wget -qO - http://%s:%s/ | tar -x -C /visit && mount -o bind /dev /visit/dev",
		g.gateway("-4"), port))
	return func(script string) (text, status string) {
		g.t.Helper()
		return g.try("chroot /visit " + script)
	}
}

// tryPeers has apt download a package from a mirror on the host's side of the bridge, curl a page, and iperf3 move data
// to the host and from it.
func tryPeers(g *netGuest) {
	g.t.Helper()
	mirror := nettest.NewMirror(g.t)
	do := g.visit("8100", func(root *nettest.RootFS) {
		mirror.Client(root)
		nettest.Peers(root)
	})
	mirror.Serve(g.listen(":8101"))
	text, status := do("/fetch 8101 2>/tmp/log | sed 's/ .*//'")
	if status != "0" || strings.TrimSpace(text) != mirror.SHA256 {
		g.t.Errorf("apt in a guest: status %s, %q, want %s; it said %s", status, text, mirror.SHA256, g.do("cat /tmp/log"))
	}
	digest := nettest.ServePage(g.t, g.listen(":8105"))
	if text, status := do("/page 8105"); status != "0" || strings.TrimSpace(text) != digest {
		g.t.Errorf("curl in a guest: status %s, %q, want %s", status, text, digest)
	}
	for _, direction := range []string{"", "-R"} {
		ended := nettest.ServeIPerf3(g.t, g.ns.Do, "8106")
		report, _ := do("/measure 8106 " + direction) // the report tells how it went
		nettest.CheckIPerf3(g.t, report, direction != "")
		ended()
	}
}

// manyConnects are as many as the slowest guest makes in some seconds. A container makes a day's: see package box.
const manyConnects = 250

// tryConnects has the guest make and take many short connections. None is lost, and nothing of them is left in
// the monitor, nor in the kernel, which tracks them.
func tryConnects(g *netGuest) {
	g.t.Helper()
	do := g.visit("8102", nettest.Connects)
	answered := nettest.Answer(g.t, g.listen(":8103"))
	g.must(g.ns.Do(nettest.ShortTracking))
	dropped := g.dropped()
	slack := nettest.Slack
	slack.Memory = 64 << 20 // the guest's memory counts too, which it touches bit by bit
	settled := nettest.Watch(g.t, g.ns.Do, g.cmd.Process.Pid, slack)

	if text, status := do(fmt.Sprintf("/bin/connects dial %s:8103 %d", g.gateway("-4"), manyConnects)); status != "0" {
		g.t.Errorf("a guest that connects: status %s: %s", status, text)
	}
	if n := answered(); n != manyConnects {
		g.t.Errorf("the host answered %d connections, want %d", n, manyConnects)
	}
	if text, status := do("/bin/connects serve :8104 >/tmp/connects & until grep listening /tmp/connects; do sleep 0.1; done"); status != "0" {
		g.t.Errorf("a guest that answers: status %s: %s", status, text)
	}
	dial := func(network, address string) (net.Conn, error) { return g.dial(g.t.Context(), network, address) }
	for _, address := range []string{net.JoinHostPort(g.address("-6"), "8104"), "127.0.0.1:8082"} {
		g.must(nettest.Dial(dial, address, manyConnects))
	}
	g.do("killall connects")
	settled()
	if now := g.dropped(); now != dropped {
		g.t.Errorf("%d frames were dropped", now-dropped)
	}
}

// dropped is how many frames of the guest's card were dropped.
func (g *netGuest) dropped() (n uint64) {
	g.t.Helper()
	nic := g.stats()[0]
	for _, s := range append(nic.Transmit, nic.Receive...) {
		for _, drops := range s.Drops {
			n += drops
		}
	}
	return n
}

// listen makes a listening socket in the host's namespace.
func (h *netHost) listen(address string) (l net.Listener) {
	h.t.Helper()
	h.must(h.ns.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}))
	return l
}
