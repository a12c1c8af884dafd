package dhcp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func lease() Lease {
	return Lease{
		MAC: net.HardwareAddr{2, 0, 0, 1, 2, 3}, Address: netip.MustParsePrefix("10.77.0.2/22"), Router: netip.MustParseAddr("10.77.0.1"),
		DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::1")}, Search: []string{"example.org."}, Host: "web", MTU: 1400,
	}
}

// request is a client's frame.
func request(t testing.TB, l *Lease, change func(*layers.DHCPv4), options ...layers.DHCPOption) []byte {
	t.Helper()
	ask := &layers.DHCPv4{
		Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 77, ClientHWAddr: l.MAC,
		ClientIP: net.IPv4zero, YourClientIP: net.IPv4zero, NextServerIP: net.IPv4zero, RelayAgentIP: net.IPv4zero, Options: options,
	}
	if change != nil {
		change(ask)
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4zero, DstIP: net.IPv4bcast}
	udp := &layers.UDP{SrcPort: clientPort, DstPort: serverPort}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	eth := &layers.Ethernet{SrcMAC: l.MAC, DstMAC: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EthernetType: layers.EthernetTypeIPv4}
	out := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, udp, ask); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func kind(k layers.DHCPMsgType) layers.DHCPOption {
	return layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(k)})
}

func opt(k layers.DHCPOpt, b ...byte) layers.DHCPOption { return layers.NewDHCPOption(k, b) }

// read takes an answer apart, and checks its checksums.
func read(t testing.TB, frame []byte) (*layers.DHCPv4, *layers.IPv4, *layers.Ethernet) {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp.SrcPort != serverPort || udp.DstPort != clientPort || len(udp.Payload) < minRelayed {
		t.Errorf("answer from port %d to %d, %d bytes", udp.SrcPort, udp.DstPort, len(udp.Payload))
	}
	return p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4), ip, p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
}

func option(a *layers.DHCPv4, k layers.DHCPOpt) string {
	for _, o := range a.Options {
		if o.Type == k {
			return string(o.Data)
		}
	}
	return ""
}

func TestAnswer(t *testing.T) {
	l := lease()
	mine, other := []byte{10, 77, 0, 2}, []byte{10, 77, 0, 9}
	me, else_ := []byte{10, 77, 0, 1}, []byte{10, 77, 0, 99}
	for _, test := range []struct {
		name    string
		change  func(*layers.DHCPv4)
		options []layers.DHCPOption
		want    layers.DHCPMsgType // unspecified: no answer
		to      string
	}{
		{"discover", nil, []layers.DHCPOption{kind(layers.DHCPMsgTypeDiscover)}, layers.DHCPMsgTypeOffer, "10.77.0.2"},
		{
			"discover, wants a broadcast", func(a *layers.DHCPv4) { a.Flags = broadcast },
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeDiscover)},
			layers.DHCPMsgTypeOffer, "255.255.255.255",
		},
		{
			"request", nil,
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeRequest), opt(layers.DHCPOptRequestIP, mine...), opt(layers.DHCPOptServerID, me...)},
			layers.DHCPMsgTypeAck, "10.77.0.2",
		},
		{
			"request after a reboot", nil,
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeRequest), opt(layers.DHCPOptRequestIP, mine...)},
			layers.DHCPMsgTypeAck, "10.77.0.2",
		},
		{
			"renewal", func(a *layers.DHCPv4) { a.ClientIP = mine },
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeRequest)},
			layers.DHCPMsgTypeAck, "10.77.0.2",
		},
		{
			"another's address", nil,
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeRequest), opt(layers.DHCPOptRequestIP, other...)},
			layers.DHCPMsgTypeNak, "255.255.255.255",
		},
		{
			"another's offer", nil,
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeRequest), opt(layers.DHCPOptRequestIP, mine...), opt(layers.DHCPOptServerID, else_...)},
			layers.DHCPMsgTypeUnspecified, "",
		},
		{
			"inform", func(a *layers.DHCPv4) { a.ClientIP = other },
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeInform)},
			layers.DHCPMsgTypeAck, "10.77.0.9",
		},
		{"release", nil, []layers.DHCPOption{kind(layers.DHCPMsgTypeRelease)}, layers.DHCPMsgTypeUnspecified, ""},
		{"decline", nil, []layers.DHCPOption{kind(layers.DHCPMsgTypeDecline)}, layers.DHCPMsgTypeUnspecified, ""},
		{"no kind", nil, nil, layers.DHCPMsgTypeUnspecified, ""},
		{
			"another machine's", func(a *layers.DHCPv4) { a.ClientHWAddr = net.HardwareAddr{2, 9, 9, 9, 9, 9} },
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeDiscover)},
			layers.DHCPMsgTypeUnspecified, "",
		},
		{
			"a reply", func(a *layers.DHCPv4) { a.Operation = layers.DHCPOpReply },
			[]layers.DHCPOption{kind(layers.DHCPMsgTypeDiscover)},
			layers.DHCPMsgTypeUnspecified, "",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			frame := l.Answer(request(t, &l, test.change, test.options...))
			if test.want == layers.DHCPMsgTypeUnspecified {
				if frame != nil {
					t.Fatalf("answered with %x", frame)
				}
				return
			}
			if frame == nil {
				t.Fatal("no answer")
			}
			a, ip, eth := read(t, frame)
			if got := option(a, layers.DHCPOptMessageType); got != string([]byte{byte(test.want)}) {
				t.Errorf("message type %x, want %v", got, test.want)
			}
			if ip.DstIP.String() != test.to || ip.SrcIP.String() != "10.77.0.1" || a.Xid != 77 {
				t.Errorf("from %v to %v, xid %d; want to %s", ip.SrcIP, ip.DstIP, a.Xid, test.to)
			}
			if wantMAC := eth.DstMAC.String() == l.MAC.String(); wantMAC == (test.to == "255.255.255.255") {
				t.Errorf("to %s by %v", test.to, eth.DstMAC)
			}
			if test.want == layers.DHCPMsgTypeNak {
				if !a.YourClientIP.Equal(net.IPv4zero) || option(a, layers.DHCPOptRouter) != "" {
					t.Errorf("a NAK that gives %v", a)
				}
				return
			}
			if !a.YourClientIP.Equal(net.IP(mine)) || option(a, layers.DHCPOptSubnetMask) != "\xff\xff\xfc\x00" ||
				option(a, layers.DHCPOptRouter) != string(me) || option(a, layers.DHCPOptDNS) != "\xc0\x00\x02\x35" ||
				option(a, layers.DHCPOptHostname) != "web" || option(a, layers.DHCPOptInterfaceMTU) != "\x05\x78" ||
				option(a, layers.DHCPOptDomainName) != "example.org" || option(a, layers.DHCPOptLeaseTime) != "\x00\x01\x51\x80" {
				t.Errorf("answer %v %v", a.YourClientIP, a.Options)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	l := lease()
	whole := request(f, &l, nil, kind(layers.DHCPMsgTypeRequest), opt(layers.DHCPOptRequestIP, 10, 77, 0, 2))
	f.Add(whole)
	f.Add(whole[:60])
	long := append([]byte(nil), whole...)
	long[14+20+8+hwLenOffset] = 255
	f.Add(long)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if answer := l.Answer(frame); answer != nil {
			read(t, answer)
		}
	})
}
