package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/cmd/tandem/internal/machine"
	"tandem/internal/testenv"
)

// transfer is how much is moved to see whether it comes whole: many ring sizes, and a moment in the slowest lab.
const transfer = 2 << 20

// dataPaths are the ways of a card's frames, each with something more that it is tried with.
var dataPaths = []struct {
	name  string
	needs []*testenv.Requirement
	net   string
	args  []string
	more  func(*netGuest)
}{
	{name: "exit", more: tryLimits},
	{name: "eventfd", net: ",queues=2", args: []string{"--cpus", "2"}, more: tryVisitors},
	{name: "vhost", needs: []*testenv.Requirement{testenv.VHostNet}, net: ",mtu=9000", more: tryJumbo},
	{name: "vhost-user", args: []string{"--transport", "mmio"}, more: tryServedElsewhere},
}

// TestVMRunNet has one guest on each data path do all that a guest does with a network.
func TestVMRunNet(t *testing.T) {
	for _, path := range dataPaths {
		t.Run(path.name, func(t *testing.T) {
			needGuests(t)
			testenv.Need(t, path.needs...)
			h := newNetHost(t)
			data, digest := randomBytes(transfer)
			h.serve(":8000", data, nil)
			args := []string{"--net", "bridge,datapath=" + path.name + path.net, "-p", "8081:80", "-p", "8082:8104"}
			g := h.boot("web", append(args, path.args...)...)
			tryTransfers(g, digest)
			tryPublished(g)
			tryMany(g)
			path.more(g)
			g.leave()
			h.wantNothingLeft()
		})
	}
}

// TestVMRunCurl has a program that only the host has ask a server on the host's side of the bridge, on each data path.
func TestVMRunCurl(t *testing.T) {
	for _, path := range dataPaths {
		t.Run(path.name, func(t *testing.T) {
			needGuests(t)
			testenv.Need(t, append(path.needs, testenv.Curl)...)
			h := newNetHost(t)
			const page = "this is the host\n"
			h.serve(":8000", []byte(page), nil)
			got := h.tandem("vm", "run", "--net", "bridge,datapath="+path.name, "--", "curl", "-s", "http://10.77.0.1:8000/")
			if got.status != 0 || got.stdout != page {
				t.Errorf("curl in a guest: %+v, want %q", got, page)
			}
			h.wantNothingLeft()
		})
	}
}

// tryTransfers pings the host, and moves data both ways, by IPv4 and IPv6.
func tryTransfers(g *netGuest, digest string) {
	g.t.Helper()
	g.do("mkdir /w; echo here is the guest >/w/index.html; httpd -p 80 -h /w")
	for _, family := range []string{"-4", "-6"} {
		gateway := g.gateway(family)
		g.do("ping " + family + " -c 2 -W 10 " + gateway)
		url := "http://" + net.JoinHostPort(gateway, "8000") + "/"
		if got := g.do("wget -qO /w/data " + url + " && md5sum </w/data"); got != digest+"  -" {
			g.t.Errorf("%s: the guest got %q, want %s", url, got, digest)
		}
		if n, got, err := g.fetch("http://" + net.JoinHostPort(g.address(family), "80") + "/data"); got != digest {
			g.t.Errorf("%s: the host got %d bytes, %v, with digest %s, want %s", family, n, err, got, digest)
		}
	}
}

// gateway is the host, as the guest knows it.
func (g *netGuest) gateway(family string) string {
	g.t.Helper()
	gateway := g.do("ip " + family + " route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p' | head -n 1")
	if net.ParseIP(gateway) == nil {
		g.t.Fatalf("the guest's gateway is %q", gateway)
	}
	return gateway
}

// address is the guest's own.
func (g *netGuest) address(family string) string {
	g.t.Helper()
	own := g.do("ip -o " + family + " addr show dev eth0 scope global | sed -n 's/.* inet6* \\([^/]*\\).*/\\1/p' | head -n 1")
	if net.ParseIP(own) == nil {
		g.t.Fatalf("the guest's address is %q", own)
	}
	return own
}

// tryPublished asks the guest by its published port, by the host's own address and by the bridge's.
func tryPublished(g *netGuest) {
	g.t.Helper()
	if list := g.mustTandem("vm", "ls"); !strings.Contains(list, " "+g.address("-4")+"\n") {
		g.t.Errorf("vm ls does not tell that the guest is at %s: %s", g.address("-4"), list)
	}
	for _, host := range []string{"127.0.0.1", "[::1]", g.gateway("-4")} {
		if n, got, err := g.fetch("http://" + host + ":8081/index.html"); got != "6e9e3e397cf42d25591dfb73c164c61d" /* "here is the guest" */ {
			g.t.Errorf("by %s: %d bytes, %v, with digest %s", host, n, err, got)
		}
	}
}

// tryMany has the guest open 100 connections to the host, all open at once, each of which is given a number.
func tryMany(g *netGuest) {
	g.t.Helper()
	const count = 100
	var l net.Listener
	g.must(g.ns.Do(func() (err error) {
		l, err = net.Listen("tcp", ":8002")
		return err
	}))
	defer l.Close()
	g.tell(fmt.Sprintf("for i in $(seq %d); do nc %s 8002 >/w/nc.$i & done; wait; cat /w/nc.* | sort -n | uniq | wc -l", count, g.gateway("-4")))
	var conns []net.Conn
	for range count {
		c, err := l.Accept()
		g.must(err)
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns {
		_, err := fmt.Fprintln(c, i)
		g.must(err)
		g.must(c.Close())
	}
	if text, status := g.answer(); status != "0" || strings.TrimSpace(text) != fmt.Sprint(count) {
		g.t.Errorf("of %d connections at once the guest has the numbers of %q, status %s", count, text, status)
	}
}

// stats are the guest's cards.
func (g *netGuest) stats() (nics []machine.NICInfo) {
	g.t.Helper()
	g.must(json.Unmarshal([]byte(g.mustTandem("vm", "net", "stats", g.name, "--json")), &nics))
	if len(nics) != 1 {
		g.t.Fatalf("cards: %+v", nics)
	}
	return nics
}

// tryLimits has a transfer go as slowly as it is told to, and then lifts the limit while it runs.
func tryLimits(g *netGuest) {
	g.t.Helper()
	const size, rate, burst = 1 << 20, 512 << 10, 32 << 10
	g.do(fmt.Sprintf("head -c %d /w/data >/w/slow", size))
	url := "http://" + net.JoinHostPort(g.address("-4"), "80") + "/slow"
	g.mustTandem("vm", "net", "set", g.name, "--direction", "out", "--rate", fmt.Sprint(rate), "--burst", fmt.Sprint(burst))
	start := time.Now()
	if n, _, err := g.fetch(url); n != size || err != nil {
		g.t.Errorf("%d bytes came, %v, want %d", n, err, size)
	}
	// It may take longer on a slow machine; it must not be quicker.
	if took, want := time.Since(start), time.Second*(size-burst)/rate; took < want {
		g.t.Errorf("%d bytes at %d a second took %v, want at least %v", size, rate, took, want)
	}
	// At this rate it would not end before the test does.
	g.mustTandem("vm", "net", "set", g.name, "--rate", "100", "--burst", "100")
	before := g.stats()[0].Transmit[0].Packets
	fetched := make(chan error, 1)
	go func() {
		n, _, err := g.fetch(url)
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes came, want %d", n, size)
		}
		fetched <- err
	}()
	eventually(g.t, "the guest to be held up", func() bool {
		nic := g.stats()[0]
		return nic.TransmitLimits.Bytes.PerSecond == 100 && nic.Transmit[0].Packets > before
	})
	g.mustTandem("vm", "net", "set", g.name, "--rate", "0")
	if err := <-fetched; err != nil {
		g.t.Errorf("after the limit was lifted: %v", err)
	}
	if got := g.tandem("vm", "net", "set", g.name, "--card", "net7", "--rate", "1"); got.status == 0 || !strings.Contains(got.stderr, "net7") {
		g.t.Errorf("a limit for a card that is not there: %+v", got)
	}
}

// tryQueues wants both pairs used.
func tryQueues(g *netGuest) {
	g.t.Helper()
	if got := g.do("ls -d /sys/class/net/eth0/queues/rx-*"); len(strings.Fields(got)) != 2 {
		g.t.Errorf("the guest's receive queues are %q, want 2", got)
	}
	nic := g.stats()[0]
	if len(nic.Transmit) != 2 || len(nic.Receive) != 2 {
		g.t.Fatalf("stats %+v, want 2 pairs", nic)
	}
	for i := range 2 {
		if nic.Transmit[i].Packets == 0 || nic.Receive[i].Packets == 0 {
			g.t.Errorf("pair %d moved nothing: %+v, %+v", i, nic.Transmit[i], nic.Receive[i])
		}
	}
}

// tryJumbo sends packets of 9000 bytes, which nobody on the way may cut.
func tryJumbo(g *netGuest) {
	g.t.Helper()
	if got := g.do("cat /sys/class/net/eth0/mtu"); got != "9000" {
		g.t.Errorf("the guest's MTU is %s, want 9000", got)
	}
	cut := "awk '/^Ip: [0-9]/ {print $18}' /proc/net/snmp"
	before := g.do(cut)
	g.do("ping -c 2 -s 8972 -W 10 " + g.gateway("-4"))
	if got := g.do(cut); got != before || got == "" {
		g.t.Errorf("fragments: %q before, %q after", before, got)
	}
	if got := g.tandem("vm", "net", "set", g.name, "--rate", "1"); got.status == 0 || !strings.Contains(got.stderr, "tc-tbf") {
		g.t.Errorf("a limit where the kernel serves the queues: %+v", got)
	}
}

// tryServedElsewhere looks at what is told of a card that another process serves.
func tryServedElsewhere(g *netGuest) {
	g.t.Helper()
	if got := g.mustTandem("vm", "net", "stats", g.name); !strings.Contains(got, "served elsewhere") {
		g.t.Errorf("stats: %q", got)
	}
}

// TestVMRunNetKilled kills a monitor, and wants all of it removed by `tandem system gc`.
func TestVMRunNetKilled(t *testing.T) {
	needGuests(t)
	h := newNetHost(t)
	g := h.boot("doomed", "--net", "bridge,datapath=vhost-user", "--net", "bridge=tandem9", "-p", "8081:80")
	if len(h.left()) == 0 {
		t.Error("there is nothing while the guest runs")
	}
	g.mustTandem("system", "gc") // which leaves alone what is in use
	g.do("ping -c 1 -W 10 " + g.gateway("-4"))
	g.must(g.cmd.Process.Kill())
	_ = g.cmd.Wait()
	if got := h.mustTandem("system", "gc"); !strings.Contains(got, "VM doomed") {
		t.Errorf("system gc: %q", got)
	}
	h.wantNothingLeft()
}

// TestVMRunNetFlags gives what makes no sense. Nothing is booted, and nothing is left.
func TestVMRunNetFlags(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.GuestKernel)
	h := newNetHost(t)
	h.tap("192.0.2.1/24", 1)
	nobody := filepath.Join(t.TempDir(), "nobody.sock")
	for _, test := range []struct {
		net, want string
	}{
		{"bridge,speed=3", "speed=3"},
		{"wire", "wire"},
		{"bridge=a/b", "a/b"},
		{"bridge,datapath=carrier-pigeon", "carrier-pigeon"},
		{"tap=gone", "ip tuntap add dev gone"},
		{"tap=lo", "lo"},
		{"tap=" + testTap + ",queues=2", testTap}, // it was made with one
		{"datapath=vhost-user:" + nobody, nobody},
		{"datapath=vhost-user", "SOCKET"},
		{"bridge,mac=33:33:00:00:00:01", "mac="},
		{"bridge,mtu=9", "mtu=9"},
	} {
		got := h.tandem("vm", "run", "--accel", "kvm", "--net", test.net, "--", "true")
		if got.status == 0 || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
			t.Errorf("--net %s: %+v, want %q", test.net, got, test.want)
		}
	}
	if got := h.tandem("vm", "run", "--accel", "kvm", "--net", "tap="+testTap, "-p", "80:80", "--", "true"); got.status == 0 || !strings.Contains(got.stderr, "bridge") {
		t.Errorf("-p without a bridge: %+v", got)
	}
	if _, err := os.Stat(nobody); err == nil {
		t.Errorf("%s was made", nobody)
	}
	h.wantNothingLeft()
}
