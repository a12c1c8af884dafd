package network

import (
	"net/netip"
	"testing"
)

// both runs a test with bridged frames seen by the host's rules, as docker and Kubernetes have it, and not.
func both(t *testing.T, test func(*testing.T, *world)) {
	for name, on := range map[string]bool{"br_netfilter": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.bridgeNetfilter(on)
			test(t, w)
		})
	}
}

func TestBoxesReachEachOtherAndTheOutside(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		a, b := w.attach("a"), w.attach("b")
		for _, network := range []string{"tcp", "udp"} {
			w.serve(b.ns, network, ":7000", "b")
			w.serve(w.host, network, ":7000", "host")
			w.serve(w.outside, network, ":7000", "outside")
		}
		for _, six := range []bool{false, true} {
			hostIP, outsideIP, gateway := hostIP4, outsideIP4, a.Gateways[0].String()
			if six {
				hostIP, outsideIP, gateway = hostIP6, outsideIP6, a.Gateways[1].String()
			}
			for _, network := range []string{"tcp", "udp"} {
				w.asks(a.ns, network, at(b.ip(six), 7000), "b "+a.ip(six)+" hello")
				w.asks(w.host, network, at(b.ip(six), 7000), "b "+gateway+" hello")
				w.asks(a.ns, network, at(gateway, 7000), "host "+a.ip(six)+" hello")
				w.serve(w.host, network, at(hostIP, 7001), "host") // one socket of UDP for all addresses would reply from another
				w.asks(a.ns, network, at(hostIP, 7001), "host "+a.ip(six)+" hello")
				w.asks(a.ns, network, at(outsideIP, 7000), "outside "+hostIP+" hello") // masqueraded
			}
		}
	})
}

func at(ip string, port uint16) string {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port).String()
}
