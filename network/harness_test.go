package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/network/netns"
	"tandem/network/port"
)

func TestMain(m *testing.M) {
	if killedChild() {
		return
	}
	testenv.Main(m)
}

// The addresses of the uplink between the two namespaces that stand for the host and for what is outside of it.
const (
	hostIP4, hostIP6       = "192.0.2.1", "2001:db8::1"
	outsideIP4, outsideIP6 = "192.0.2.2", "2001:db8::2"
	uplinkMTU              = 1400
)

// world is a host, a neighbour outside, and boxes.
type world struct {
	t             testing.TB
	host, outside *netns.NS
	state         string
}

// newWorld makes namespaces of its own, with br_netfilter acting or not.
func newWorld(t testing.TB) *world {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.NetNS)
	w := &world{t: t, state: filepath.Join(t.TempDir(), "state")}
	w.host, w.outside = w.namespace(), w.namespace()
	h := w.handle(w.host)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "uplink", uplinkMTU
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(w.outside.Fd())
	w.must(h.LinkAdd(veth))
	w.address(w.host, "uplink", hostIP4+"/24", hostIP6+"/64")
	w.address(w.outside, "eth0", outsideIP4+"/24", outsideIP6+"/64")
	for _, ns := range []*netns.NS{w.host, w.outside} {
		w.up(ns, "lo")
		w.sysctl(ns, forward4, "0") // a new namespace has what the machine's first one has
	}
	for _, via := range []string{outsideIP4, outsideIP6} {
		w.route(w.host, "uplink", netip.PrefixFrom(netip.MustParseAddr(via), 0), via)
	}
	return w
}

// in is the same world for a subtest.
func (w *world) in(t testing.TB) *world {
	inner := *w
	inner.t = t
	return &inner
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) namespace() *netns.NS {
	w.t.Helper()
	ns, err := netns.New()
	w.must(err)
	w.t.Cleanup(func() { ns.Close() })
	return ns
}

func (w *world) handle(ns *netns.NS) *netlink.Handle {
	w.t.Helper()
	h, err := ns.Handle(unix.NETLINK_ROUTE)
	w.must(err)
	w.t.Cleanup(h.Close)
	return h
}

func (w *world) up(ns *netns.NS, name string) netlink.Link {
	w.t.Helper()
	h := w.handle(ns)
	link, err := h.LinkByName(name)
	w.must(err)
	w.must(h.LinkSetUp(link))
	return link
}

func (w *world) address(ns *netns.NS, name string, prefixes ...string) {
	w.t.Helper()
	link, h := w.up(ns, name), w.handle(ns)
	for _, p := range prefixes {
		prefix := netip.MustParsePrefix(p)
		addr := &netlink.Addr{IPNet: ipNet(prefix)}
		if prefix.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		w.must(h.AddrAdd(link, addr))
	}
}

func (w *world) route(ns *netns.NS, name string, to netip.Prefix, via string) {
	w.t.Helper()
	link, h := w.up(ns, name), w.handle(ns)
	w.must(h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to.Masked()), Gw: net.ParseIP(via)}))
}

func (w *world) sysctl(ns *netns.NS, name, value string) {
	w.t.Helper()
	sp := &space{ns: ns}
	_, err := sp.setSysctl(name, value)
	w.must(err)
}

// bridgeNetfilter has the host's IP rules look at bridged frames or not, where the kernel can.
func (w *world) bridgeNetfilter(on bool) {
	w.t.Helper()
	value := "0"
	if on {
		value = "1"
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		sp := &space{ns: w.host}
		w.must(sp.setIfThere("net/bridge/bridge-nf-call-"+name, value))
	}
}

// box is a container's namespace, attached.
type box struct {
	*Attachment
	ns *netns.NS
}

func (b box) ip(six bool) string {
	for _, p := range b.Addresses {
		if p.Addr().Is6() == six {
			return p.Addr().String()
		}
	}
	return ""
}

func (w *world) spec(id string, ns *netns.NS, ports ...string) Spec {
	w.t.Helper()
	s := Spec{ID: id, State: w.state, Host: w.host.Path()}
	if ns != nil {
		s.NetNS = ns.Path()
	}
	for _, text := range ports {
		m, err := port.Parse(text)
		w.must(err)
		s.Ports = append(s.Ports, m)
	}
	return s
}

// attach attaches a new namespace, until the test ends.
func (w *world) attach(id string, ports ...string) box {
	w.t.Helper()
	ns := w.namespace()
	return box{w.attachSpec(w.spec(id, ns, ports...)), ns}
}

func (w *world) attachSpec(s Spec) *Attachment {
	w.t.Helper()
	a, err := Attach(w.t.Context(), s)
	w.must(err)
	w.t.Cleanup(func() {
		if err := Detach(w.t.Context(), a); err != nil && w.t.Context().Err() == nil {
			w.t.Error(err)
		}
		a.CloseSockets()
	})
	return a
}

// serve answers each line, on TCP or UDP, with the name, the client's address and the line, until the test ends.
func (w *world) serve(ns *netns.NS, network, at, name string) {
	w.t.Helper()
	var l io.Closer
	w.must(ns.Do(func() (err error) {
		if strings.HasPrefix(network, "udp") {
			l, err = net.ListenPacket(network, at)
		} else {
			l, err = net.Listen(network, at)
		}
		return err
	}))
	var group sync.WaitGroup
	w.t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	reply := func(from net.Addr, line string) string {
		ap, _ := netip.ParseAddrPort(from.String())
		return fmt.Sprintf("%s %s %s\n", name, ap.Addr(), strings.TrimSpace(line))
	}
	group.Go(func() {
		if l, ok := l.(net.Listener); ok {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				group.Go(func() {
					defer c.Close()
					if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
						io.WriteString(c, reply(c.RemoteAddr(), line))
					}
				})
			}
		}
		buffer := make([]byte, 2000)
		for {
			n, from, err := l.(net.PacketConn).ReadFrom(buffer)
			if err != nil {
				return
			}
			l.(net.PacketConn).WriteTo([]byte(reply(from, string(buffer[:n]))), from)
		}
	})
}

const patience = time.Minute

// ask sends a line and returns the answer. It waits long for what should come.
func ask(ns *netns.NS, network, at string) (string, error) { return askFor(ns, network, at, patience) }

func askFor(ns *netns.NS, network, at string, limit time.Duration) (answer string, err error) {
	err = ns.Do(func() error {
		c, err := (&net.Dialer{Timeout: limit}).Dial(network, at)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(limit))
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			return err
		}
		answer, err = bufio.NewReader(c).ReadString('\n')
		return err
	})
	return strings.TrimSpace(answer), err
}

// asks wants one answer.
func (w *world) asks(ns *netns.NS, network, at, want string) {
	w.t.Helper()
	if got, err := ask(ns, network, at); err != nil || got != want {
		w.t.Errorf("%s %s answers %q, %v, want %q", network, at, got, err, want)
	}
}

// fails wants no answer. What is dropped can only be waited for; what arrives, arrives at once.
func (w *world) fails(ns *netns.NS, network, at string) {
	w.t.Helper()
	if got, err := askFor(ns, network, at, 300*time.Millisecond); err == nil {
		w.t.Errorf("%s %s answers %q, want no answer", network, at, got)
	}
}

// snapshot is all that boxes could leave on a host: links with their addresses, routes, rules, settings, sockets,
// files.
func (w *world) snapshot() string {
	w.t.Helper()
	testenv.Need(w.t, testenv.NFT)
	var b strings.Builder
	h := w.handle(w.host)
	links, err := h.LinkList()
	w.must(err)
	for _, l := range links {
		a := l.Attrs()
		fmt.Fprintf(&b, "link %s %s master %d mtu %d alias %q\n", a.Name, l.Type(), a.MasterIndex, a.MTU, a.Alias)
		addrs, err := h.AddrList(l, netlink.FAMILY_ALL)
		w.must(err)
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() { // they come by themselves, a little after the link
				fmt.Fprintf(&b, "  address %s\n", a.IPNet)
			}
		}
	}
	main := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, main, netlink.RT_FILTER_TABLE)
	w.must(err)
	for _, r := range routes {
		if r.Dst == nil || !r.Dst.IP.IsLinkLocalUnicast() {
			fmt.Fprintf(&b, "route %v via %v link %d\n", r.Dst, r.Gw, r.LinkIndex)
		}
	}
	b.WriteString(w.nft("", "list", "ruleset"))
	sp := &space{ns: w.host}
	for _, name := range []string{
		"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding",
		"net/ipv6/conf/uplink/force_forwarding", "net/ipv6/conf/uplink/accept_ra",
	} {
		value, err := sp.sysctl(name)
		fmt.Fprintf(&b, "%s %s %v\n", name, value, err != nil)
	}
	b.WriteString(w.sockets())
	entries, err := os.ReadDir(w.state)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "file %s\n", e.Name())
		if strings.HasSuffix(e.Name(), ".json") {
			text, err := os.ReadFile(filepath.Join(w.state, e.Name()))
			w.must(err)
			for line := range strings.Lines(string(text)) {
				if !strings.Contains(line, `"last":`) { // the number given out last goes on
					b.WriteString(line)
				}
			}
		}
	}
	return b.String()
}

// sockets lists those that servers have, but for the tests' own.
func (w *world) sockets() string {
	w.t.Helper()
	h, err := w.host.Handle(unix.NETLINK_SOCK_DIAG)
	w.must(err)
	defer h.Close()
	var all []string
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		tcp, err := h.SocketDiagTCP(family)
		w.must(err)
		udp, err := h.SocketDiagUDP(family)
		w.must(err)
		tcp = slices.DeleteFunc(tcp, func(s *netlink.Socket) bool { return s.State != netlink.TCP_LISTEN })
		for _, s := range append(tcp, udp...) {
			all = append(all, fmt.Sprintf("socket %s:%d\n", s.ID.Source, s.ID.SourcePort))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func (w *world) nft(stdin string, arguments ...string) string {
	w.t.Helper()
	var out strings.Builder
	err := w.host.Do(func() error {
		cmd := exec.Command("nft", arguments...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
		return cmd.Run()
	})
	if err != nil {
		w.t.Fatalf("nft %v: %v\n%s", arguments, err, out.String())
	}
	return out.String()
}

// settingsBack is a snapshot with the settings as they were: those stay, and are told of.
func settingsBack(s string) string {
	for _, name := range []string{"net/ipv4/ip_forward", "uplink/force_forwarding", "all/forwarding"} {
		s = strings.ReplaceAll(s, name+" 1", name+" 0")
	}
	return strings.ReplaceAll(s, "uplink/accept_ra 2", "uplink/accept_ra 1")
}

// same compares two snapshots.
func (w *world) same(what, before, after string) {
	w.t.Helper()
	if before != after {
		w.t.Errorf("%s:\n%s", what, difference(before, after))
	}
}

// difference lists the lines that one text has and the other has not.
func difference(before, after string) string {
	count := make(map[string]int)
	for line := range strings.Lines(before) {
		count[line]--
	}
	for line := range strings.Lines(after) {
		count[line]++
	}
	var all []string
	for line, n := range count {
		switch {
		case n < 0:
			all = append(all, "gone: "+line)
		case n > 0:
			all = append(all, "more: "+line)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// wait waits for a condition.
func (w *world) wait(what string, met func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}
