package network

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/network/netns"
)

// TestHostThatDropsForwardedPackets, as docker and most firewalls have it, in chains of their own.
func TestHostThatDropsForwardedPackets(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.nft(dropPolicy, "-f", "-")
		before := w.nft("", "list", "ruleset")
		a, b := w.attach("a", "8080:80"), w.attach("b")
		w.serve(w.outside, "tcp", ":7000", "outside")
		w.serve(a.ns, "tcp", ":80", "a")
		for _, six := range []bool{false, true} {
			hostIP, outsideIP := hostIP4, outsideIP4
			if six {
				hostIP, outsideIP = hostIP6, outsideIP6
			}
			w.asks(a.ns, "tcp", at(outsideIP, 7000), "outside "+hostIP+" hello")
			w.asks(w.outside, "tcp", at(hostIP, 8080), "a "+outsideIP+" hello")
			w.asks(b.ns, "tcp", at(a.ip(six), 80), "a "+b.ip(six)+" hello")
		}
		var told []string
		for _, note := range a.Notes {
			if strings.Contains(note, "chain ip filter FORWARD") || strings.Contains(note, "chain ip6 filter FORWARD") {
				told = append(told, note)
			}
		}
		if len(told) != 2 {
			t.Errorf("notes %q, want one for each chain", a.Notes)
		}
		// A firewall that is started anew forgets them, and Reload helps.
		w.nft("flush ruleset\n"+dropPolicy, "-f", "-")
		w.fails(a.ns, "tcp", at(outsideIP4, 7000))
		w.must(w.store().Reload(t.Context()))
		w.asks(a.ns, "tcp", at(outsideIP4, 7000), "outside "+hostIP4+" hello")
		w.asks(w.outside, "tcp", at(hostIP4, 8080), "a "+outsideIP4+" hello")

		w.must(Detach(t.Context(), a.Attachment))
		w.must(Detach(t.Context(), b.Attachment))
		w.same("rules afterwards", before, w.nft("", "list", "ruleset"))
	})
}

// TestNotPublishedIsNotReached: a neighbour of the host that routes to the boxes' addresses by itself.
func TestNotPublishedIsNotReached(t *testing.T) {
	w := newWorld(t)
	a := w.attach("a", "8080:80")
	other := w.spec("c", w.namespace())
	other.Mode.Value = "tandem1"
	c := w.attachSpec(other)
	w.serve(a.ns, "tcp", ":80", "a")
	for i, via := range []string{hostIP4, hostIP6} {
		w.route(w.outside, "eth0", a.Addresses[i].Masked(), via)
		direct := at(a.Addresses[i].Addr().String(), 80)
		w.fails(w.outside, "tcp", direct)
		w.asks(w.host, "tcp", direct, "a "+a.Gateways[i].String()+" hello")
		ns, err := netns.Open(other.NetNS)
		w.must(err)
		defer ns.Close()
		w.fails(ns, "tcp", direct) // from another bridge neither, but by its port, as from anywhere
		w.asks(ns, "tcp", at(c.Gateways[i].String(), 8080), "a "+a.Gateways[i].String()+" hello")
	}
}

// TestSpoofedSourceStays: a packet with another's address does not leave the host. One with the box's own comes after
// it, and arrives first.
func TestSpoofedSourceStays(t *testing.T) {
	w := newWorld(t)
	a := w.attach("a")
	w.address(a.ns, "eth0", "198.51.100.9/32", "2001:db8:9::9/128")
	for _, six := range []bool{false, true} {
		spoofed, own, outsideIP, hostIP := "198.51.100.9", a.ip(false), outsideIP4, hostIP4
		if six {
			spoofed, own, outsideIP, hostIP = "2001:db8:9::9", a.ip(true), outsideIP6, hostIP6
		}
		var l net.PacketConn
		w.must(w.outside.Do(func() (err error) {
			l, err = net.ListenPacket("udp", at(outsideIP, 7000))
			return err
		}))
		defer l.Close()
		for _, source := range []string{spoofed, own} {
			w.must(a.ns.Do(func() error {
				to := &net.UDPAddr{IP: net.ParseIP(outsideIP), Port: 7000}
				c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(source)}, to)
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Write([]byte(source))
				return err
			}))
		}
		buffer := make([]byte, 100)
		l.SetReadDeadline(time.Now().Add(patience))
		n, from, err := l.ReadFrom(buffer)
		w.must(err)
		if string(buffer[:n]) != own || netip.MustParseAddrPort(from.String()).Addr().String() != hostIP {
			t.Errorf("outside got %q from %s, want %q from %s", buffer[:n], from, own, hostIP)
		}
	}
}

// TestUDPFlowMovesToTheBox has a client that sends from one port all the time: before the port is published, and after.
func TestUDPFlowMovesToTheBox(t *testing.T) {
	w := newWorld(t)
	w.attach("other")
	ns := w.namespace()
	var c net.Conn
	w.must(w.outside.Do(func() (err error) {
		c, err = net.Dial("udp", at(hostIP4, 7000))
		return err
	}))
	defer c.Close()
	send := func() (answer string) {
		if _, err := c.Write([]byte("hello")); err != nil {
			return ""
		}
		buffer := make([]byte, 100)
		c.SetReadDeadline(time.Now().Add(patience))
		n, _ := c.Read(buffer)
		return strings.TrimSpace(string(buffer[:n]))
	}
	// Something on the host has to take the packet, or its refusal ends the flow.
	func() {
		var l net.PacketConn
		w.must(w.host.Do(func() (err error) {
			l, err = net.ListenPacket("udp", at(hostIP4, 7000))
			return err
		}))
		defer l.Close()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.ReadFrom(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}()
	flows := func() int {
		h, err := w.host.Handle(unix.NETLINK_NETFILTER)
		w.must(err)
		defer h.Close()
		all, err := h.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		w.must(err)
		return len(slices.DeleteFunc(all, func(f *netlink.ConntrackFlow) bool { return f.Forward.DstPort != 7000 }))
	}
	if flows() != 1 {
		t.Fatalf("%d flows before, want 1", flows())
	}
	a := w.attachSpec(w.spec("a", ns, "7000:80/udp"))
	w.serve(ns, "udp", ":80", "a")
	if got := send(); got != "a "+outsideIP4+" hello" {
		t.Errorf("the client hears %q, want the box", got)
	}
	w.must(Detach(t.Context(), a))
	if flows() != 0 {
		t.Errorf("%d flows afterwards, want none", flows())
	}
}

// TestRouterAdvertisementsAreNotHeeded, neither by the host from a box nor by a box from another.
func TestRouterAdvertisementsAreNotHeeded(t *testing.T) {
	w := newWorld(t)
	a := w.attach("a")
	for name, sp := range map[string]*space{"tandem0": {ns: w.host}, "eth0": {ns: a.ns}} {
		if value, err := sp.sysctl("net/ipv6/conf/" + name + "/accept_ra"); err != nil || value != "0" {
			t.Errorf("accept_ra of %s is %s, %v", name, value, err)
		}
	}
}
