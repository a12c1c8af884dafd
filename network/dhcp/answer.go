package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Lease is what the machine is told.
type Lease struct {
	MAC     net.HardwareAddr
	Address netip.Prefix // IPv4
	Router  netip.Addr   // also who answers
	DNS     []netip.Addr // of which those of IPv4 are told
	Search  []string
	Host    string // the machine's name
	MTU     int    // 0 tells nothing
}

// Duration is how long a machine may use its address before it has to ask again. It has it for as long as it lives.
const Duration = 24 * time.Hour

// Ports of the two sides, RFC 2131, section 4.1.
const (
	serverPort = 67
	clientPort = 68
)

// Sizes of the fixed part of a message, RFC 2131, section 2.
const (
	minMessage  = 240 // with the magic cookie
	minRelayed  = 300 // BOOTP's, which some clients insist on
	broadcast   = 0x8000
	macLength   = 6
	hwLenOffset = 2
)

var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Answer gives the frame that answers a frame, or nil for one that needs none: which is no DHCP, or is not of this
// machine, or is meant for another server. It trusts nothing in the frame.
func (l *Lease) Answer(frame []byte) []byte {
	ask, ok := l.parse(frame)
	if !ok {
		return nil
	}
	switch kind := l.judge(ask); kind {
	case layers.DHCPMsgTypeUnspecified:
		return nil
	default:
		return l.write(ask, kind)
	}
}

// parse takes a request of this machine out of a frame.
func (l *Lease) parse(frame []byte) (*layers.DHCPv4, bool) {
	var (
		eth layers.Ethernet
		ip  layers.IPv4
		udp layers.UDP
		got []gopacket.LayerType
	)
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &ip, &udp)
	parser.IgnoreUnsupported = true
	if err := parser.DecodeLayers(frame, &got); err != nil || len(got) != 3 || got[2] != layers.LayerTypeUDP {
		return nil, false
	}
	text := udp.Payload
	if udp.DstPort != serverPort || ip.FragOffset != 0 || len(text) < minMessage || text[hwLenOffset] != macLength {
		return nil, false
	}
	ask := new(layers.DHCPv4)
	if err := ask.DecodeFromBytes(text, gopacket.NilDecodeFeedback); err != nil {
		return nil, false
	}
	mine := ask.Operation == layers.DHCPOpRequest && ask.ClientHWAddr.String() == l.MAC.String() && eth.SrcMAC.String() == l.MAC.String()
	return ask, mine
}

// judge decides what the answer is: RFC 2131, sections 4.3.1 to 4.3.5.
func (l *Lease) judge(ask *layers.DHCPv4) layers.DHCPMsgType {
	var kind layers.DHCPMsgType
	wanted, server := address(ask.ClientIP), netip.Addr{}
	for _, o := range ask.Options {
		switch {
		case o.Type == layers.DHCPOptMessageType && len(o.Data) == 1:
			kind = layers.DHCPMsgType(o.Data[0])
		case o.Type == layers.DHCPOptRequestIP && len(o.Data) == 4:
			wanted = address(o.Data)
		case o.Type == layers.DHCPOptServerID && len(o.Data) == 4:
			server = address(o.Data)
		}
	}
	if server.IsValid() && server != l.Router {
		return layers.DHCPMsgTypeUnspecified // it has taken another's offer
	}
	switch kind {
	case layers.DHCPMsgTypeDiscover:
		return layers.DHCPMsgTypeOffer
	case layers.DHCPMsgTypeRequest:
		if wanted != l.Address.Addr() {
			return layers.DHCPMsgTypeNak
		}
		return layers.DHCPMsgTypeAck
	case layers.DHCPMsgTypeInform:
		return layers.DHCPMsgTypeAck
	}
	return layers.DHCPMsgTypeUnspecified // DECLINE and RELEASE want no answer
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

// write makes the answer's frame.
func (l *Lease) write(ask *layers.DHCPv4, kind layers.DHCPMsgType) []byte {
	router := l.Router.AsSlice()
	answer := &layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: macLength,
		Xid: ask.Xid, Flags: ask.Flags, ClientIP: net.IPv4zero, YourClientIP: net.IPv4zero, NextServerIP: net.IPv4zero,
		RelayAgentIP: net.IPv4zero, ClientHWAddr: l.MAC,
		Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)}),
			layers.NewDHCPOption(layers.DHCPOptServerID, router),
		},
	}
	to := everybody
	inform := !address(ask.ClientIP).IsUnspecified() && kind == layers.DHCPMsgTypeAck
	if inform {
		answer.ClientIP, to = ask.ClientIP, address(ask.ClientIP) // it has an address already, and hears under it
	}
	if kind != layers.DHCPMsgTypeNak {
		l.describe(answer)
		if !inform && ask.Flags&broadcast == 0 {
			to = l.Address.Addr() // its card takes what has its MAC, even before it has the address
		}
	}
	mac := l.MAC
	if to == everybody {
		mac = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: router, DstIP: to.AsSlice()}
	udp := &layers.UDP{SrcPort: serverPort, DstPort: clientPort}
	_ = udp.SetNetworkLayerForChecksum(ip) // it fails for what is no IP
	// The sender's MAC is one that is given out locally: the bridge's is not known here, and none needs it.
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}
	text := gopacket.NewSerializeBuffer()
	if answer.SerializeTo(text, gopacket.SerializeOptions{FixLengths: true}) != nil {
		return nil
	}
	body := text.Bytes()
	if short := minRelayed - len(body); short > 0 {
		body = append(body, make([]byte, short)...)
	}
	out := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, udp, gopacket.Payload(body))
	if err != nil {
		return nil
	}
	return out.Bytes()
}

// maxOption is the longest that an option can be.
const maxOption = 255

// describe adds what was leased.
func (l *Lease) describe(answer *layers.DHCPv4) {
	answer.YourClientIP = l.Address.Addr().AsSlice()
	add := func(kind layers.DHCPOpt, data []byte) {
		if len(data) > 0 && len(data) <= maxOption {
			answer.Options = append(answer.Options, layers.NewDHCPOption(kind, data))
		}
	}
	add(layers.DHCPOptSubnetMask, net.CIDRMask(l.Address.Bits(), 32))
	add(layers.DHCPOptRouter, l.Router.AsSlice())
	var servers []byte
	for _, s := range l.DNS {
		if s.Is4() && len(servers)+4 <= maxOption {
			servers = append(servers, s.AsSlice()...)
		}
	}
	add(layers.DHCPOptDNS, servers)
	add(layers.DHCPOptHostname, []byte(l.Host))
	if len(l.Search) > 0 {
		add(layers.DHCPOptDomainName, []byte(strings.TrimSuffix(l.Search[0], ".")))
	}
	if l.MTU > 0 && l.MTU <= 0xffff {
		add(layers.DHCPOptInterfaceMTU, binary.BigEndian.AppendUint16(nil, uint16(l.MTU)))
	}
	add(layers.DHCPOptLeaseTime, binary.BigEndian.AppendUint32(nil, uint32(Duration.Seconds())))
}
