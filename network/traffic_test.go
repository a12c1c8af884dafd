package network

import (
	"context"
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

// relay relays for a box until the test ends.
func (w *world) relay(a *Attachment) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error)
	go func() { done <- a.Relay(ctx, a.Sockets, nil) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

func TestPublishedPorts(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		web := w.attach("web",
			"8080:80", "8080:80/udp", "127.0.0.1:8081:80", "[::1]:8081:80", hostIP4+":8082:80", "["+hostIP6+"]:8082:80",
			"9000-9002:9000-9002", "9100-9102:9000-9002/udp", "8090")
		client := w.attach("client")
		w.relay(web.Attachment)
		for _, network := range []string{"tcp", "udp"} {
			for _, p := range []string{":80", ":9000", ":9001", ":9002", ":8090"} {
				w.serve(web.ns, network, p, "web"+p)
			}
		}
		anyPort := web.Ports[len(web.Ports)-1].HostPort
		if anyPort == 0 {
			t.Fatalf("ports are %v", web.Ports)
		}
		for _, six := range []bool{false, true} {
			hostIP, outsideIP, lo, gateway := hostIP4, outsideIP4, "127.0.0.1", web.Gateways[0].String()
			if six {
				hostIP, outsideIP, lo, gateway = hostIP6, outsideIP6, "::1", web.Gateways[1].String()
			}
			for _, network := range []string{"tcp", "udp"} {
				w.asks(w.outside, network, at(hostIP, 8080), "web:80 "+outsideIP+" hello") // the client's own address is seen
				w.asks(w.host, network, at(hostIP, 8080), "web:80 "+hostIP+" hello")
				w.asks(w.host, network, at(lo, 8080), "web:80 "+gateway+" hello") // by the relay
				w.asks(client.ns, network, at(hostIP, 8080), "web:80 "+gateway+" hello")
				w.asks(client.ns, network, at(gateway, 8080), "web:80 "+gateway+" hello")
				w.asks(web.ns, network, at(hostIP, 8080), "web:80 "+gateway+" hello") // to itself
			}
			w.asks(w.outside, "tcp", at(hostIP, anyPort), "web:8090 "+outsideIP+" hello")
			w.asks(w.host, "tcp", at(lo, 8081), "web:80 "+gateway+" hello")
			w.fails(w.outside, "tcp", at(hostIP, 8081)) // on lo alone
			w.asks(w.outside, "tcp", at(hostIP, 8082), "web:80 "+outsideIP+" hello")
			w.fails(w.host, "tcp", at(lo, 8082)) // on another address alone
			w.asks(w.outside, "tcp", at(hostIP, 9001), "web:9001 "+outsideIP+" hello")
			w.asks(w.outside, "udp", at(hostIP, 9102), "web:9002 "+outsideIP+" hello")
			w.fails(w.outside, "udp", at(hostIP, 9002)) // that range is TCP's
		}
	})
}
