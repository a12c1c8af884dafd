package firewall

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"tandem/network/port"
)

// rule is one rule, as nft(8) prints it and as the kernel takes it.
type rule struct {
	chain   string
	parts   []part
	comment string
	why     string
}

// part is a match or a statement of a rule: its text, and the expressions that the kernel's small machine runs for it.
// Each loads something into a register and compares it; the first that fails ends the rule.
type part struct {
	text  string
	exprs []expr.Any
}

func (r rule) String() string {
	var words []string
	for _, p := range r.parts {
		words = append(words, p.text)
	}
	if r.comment != "" {
		words = append(words, fmt.Sprintf("comment %q", r.comment))
	}
	return strings.Join(words, " ")
}

func (r rule) exprs() []expr.Any {
	var all []expr.Any
	for _, p := range r.parts {
		all = append(all, p.exprs...)
	}
	return all
}

// userData holds the comment where nft(8) looks for it.
func (r rule) userData() []byte {
	if r.comment == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, r.comment)
}

// The registers: each is 16 bytes, so that an IPv6 address fits (NFT_REG_1, NFT_REG_2).
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

func load(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg1} }

func compare(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: reg1, Data: data}
}

func equals(data ...byte) expr.Any { return compare(expr.CmpOpEq, data) }

// iifname and oifname match the link that a packet came by, or leaves by.
func iifname(name string) part { return ifname("iifname", expr.MetaKeyIIFNAME, expr.CmpOpEq, name) }

func iifnameNot(name string) part { return ifname("iifname", expr.MetaKeyIIFNAME, expr.CmpOpNeq, name) }

func oifname(name string) part { return ifname("oifname", expr.MetaKeyOIFNAME, expr.CmpOpEq, name) }

func oifnameNot(name string) part { return ifname("oifname", expr.MetaKeyOIFNAME, expr.CmpOpNeq, name) }

func ifname(word string, key expr.MetaKey, op expr.CmpOp, name string) part {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	sign := ""
	if op == expr.CmpOpNeq {
		sign = "!= "
	}
	return part{fmt.Sprintf("%s %s%q", word, sign, name), []expr.Any{load(key), compare(op, data)}}
}

// nfproto matches the family of a packet, in a table of both.
func nfproto(six bool) []expr.Any {
	family := byte(unix.NFPROTO_IPV4)
	if six {
		family = unix.NFPROTO_IPV6
	}
	return []expr.Any{load(expr.MetaKeyNFPROTO), equals(family)}
}

func family(six bool) part {
	name := "ipv4"
	if six {
		name = "ipv6"
	}
	return part{"meta nfproto " + name, nfproto(six)}
}

// saddr, saddrNot, daddr and daddrNot match a packet's addresses. They imply its family.
func saddr(p netip.Prefix) part    { return address("saddr", 12, 8, expr.CmpOpEq, p) }
func saddrNot(p netip.Prefix) part { return address("saddr", 12, 8, expr.CmpOpNeq, p) }
func daddr(p netip.Prefix) part    { return address("daddr", 16, 24, expr.CmpOpEq, p) }
func daddrNot(p netip.Prefix) part { return address("daddr", 16, 24, expr.CmpOpNeq, p) }

// address loads from the IP header (struct iphdr, struct ipv6hdr), at one offset or the other.
func address(word string, at4, at6 uint32, op expr.CmpOp, p netip.Prefix) part {
	six := p.Addr().Is6()
	name, offset, length := "ip", at4, uint32(4)
	if six {
		name, offset, length = "ip6", at6, 16
	}
	exprs := append(nfproto(six), &expr.Payload{
		DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length,
	})
	text := p.Addr().String()
	if !p.IsSingleIP() {
		text = p.String()
		mask := make([]byte, length)
		for bit := range p.Bits() {
			mask[bit/8] |= 0x80 >> (bit % 8)
		}
		exprs = append(exprs, &expr.Bitwise{
			SourceRegister: reg1, DestRegister: reg1, Len: length, Mask: mask, Xor: make([]byte, length),
		})
	}
	if op == expr.CmpOpNeq {
		text = "!= " + text
	}
	exprs = append(exprs, compare(op, p.Addr().AsSlice()))
	return part{fmt.Sprintf("%s %s %s", name, word, text), exprs}
}

func single(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }

// dport matches a range of destination ports.
func dport(protocol port.Protocol, first, last uint16) part {
	number := byte(unix.IPPROTO_TCP)
	if protocol == port.UDP {
		number = unix.IPPROTO_UDP
	}
	exprs := []expr.Any{
		load(expr.MetaKeyL4PROTO), equals(number),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
	if first == last {
		exprs = append(exprs, equals(binaryutil.BigEndian.PutUint16(first)...))
		return part{fmt.Sprintf("%s dport %d", protocol, first), exprs}
	}
	exprs = append(exprs,
		compare(expr.CmpOpGte, binaryutil.BigEndian.PutUint16(first)),
		compare(expr.CmpOpLte, binaryutil.BigEndian.PutUint16(last)))
	return part{fmt.Sprintf("%s dport %d-%d", protocol, first, last), exprs}
}

// toHost matches packets for one of the host's own addresses (RTN_LOCAL).
func toHost() part {
	return part{"fib daddr type local", []expr.Any{
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		equals(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)...),
	}}
}

// Bits of conntrack, as include/uapi/linux/netfilter/nf_conntrack_common.h numbers them.
const (
	ctEstablished = 1 << 1 // NF_CT_STATE_BIT(IP_CT_ESTABLISHED)
	ctRelated     = 1 << 2 // NF_CT_STATE_BIT(IP_CT_RELATED)
	ctDestNAT     = 1 << 5 // IPS_DST_NAT
)

// known matches packets of connections that were let through before.
func known() part {
	return part{"ct state established,related", ctHas(expr.CtKeySTATE, ctEstablished|ctRelated)}
}

// published matches packets of connections whose destination a rule for a published port changed.
func published() part { return part{"ct status dnat", ctHas(expr.CtKeySTATUS, ctDestNAT)} }

func ctHas(key expr.CtKey, bits uint32) []expr.Any {
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{
			SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: zero,
		},
		compare(expr.CmpOpNeq, zero),
	}
}

func accept() part { return part{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}} }

func drop() part { return part{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }

func jump(chain string) part {
	return part{"jump " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

// masquerade makes a packet come from the address of the link that it leaves by.
func masquerade() part { return part{"masquerade", []expr.Any{&expr.Masq{}}} }

// dnat sends a packet to another address, and to another port if that is not 0.
func dnat(to netip.Addr, toPort uint16) part {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1}
	name, host := "ip", to.String()
	if to.Is6() {
		nat.Family, name = unix.NFPROTO_IPV6, "ip6"
	}
	exprs := []expr.Any{&expr.Immediate{Register: reg1, Data: to.AsSlice()}}
	if toPort != 0 {
		nat.RegProtoMin = reg2
		exprs = append(exprs, &expr.Immediate{Register: reg2, Data: binaryutil.BigEndian.PutUint16(toPort)})
		host = netip.AddrPortFrom(to, toPort).String()
	}
	return part{fmt.Sprintf("dnat %s to %s", name, host), append(exprs, nat)}
}
