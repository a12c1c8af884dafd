package resolv

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Spec says what the files shall hold.
type Spec struct {
	// HostResolvConf is what [ReadHost] read.
	HostResolvConf []byte
	// HostHosts, if not nil, is the host's /etc/hosts, for a box that shares its namespace: lines are added to it.
	HostHosts []byte
	// KeepLoopback keeps name servers on 127.0.0.0/8 and ::1: right where the box shares the host's namespace.
	KeepLoopback bool
	// IPv6 tells whether the box has an IPv6 address, and so may keep name servers that have one.
	IPv6 bool

	Servers []netip.Addr // --dns: instead of the host's
	Search  []string     // --dns-search: instead of the host's; "." is none
	Options []string     // --dns-option: instead of the host's

	Hostname  string
	Addresses []netip.Addr // the box's own, by which hosts knows Hostname
	Gateway   netip.Addr   // what host-gateway stands for
	Extra     []string     // --add-host: NAME:ADDRESS or NAME:host-gateway
}

// Files are contents, for the engine to mount on /etc/resolv.conf, /etc/hosts and /etc/hostname.
type Files struct {
	ResolvConf, Hosts, Hostname []byte
	// Notes say, a line each, what differs from the host's files, and why.
	Notes []string
}

const (
	maxHostname = 64  // __NEW_UTS_LEN
	maxName     = 253 // RFC 1035, 2.3.4, without the root's dot
	maxLabel    = 63
)

// Make makes the files.
func Make(s Spec) (Files, error) {
	if len(s.Hostname) > maxHostname {
		return Files{}, fmt.Errorf("resolv: hostname %q: longer than %d bytes", s.Hostname, maxHostname)
	}
	if err := checkName(s.Hostname); err != nil {
		return Files{}, fmt.Errorf("resolv: hostname %q: %w", s.Hostname, err)
	}
	conf, notes, err := makeConf(s)
	if err != nil {
		return Files{}, fmt.Errorf("resolv: %w", err)
	}
	hosts, err := makeHosts(s)
	if err != nil {
		return Files{}, fmt.Errorf("resolv: %w", err)
	}
	return Files{conf, hosts, []byte(s.Hostname + "\n"), notes}, nil
}

func makeHosts(s Spec) ([]byte, error) {
	var b bytes.Buffer
	if s.HostHosts != nil {
		b.Write(s.HostHosts)
		if n := len(s.HostHosts); n > 0 && s.HostHosts[n-1] != '\n' {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString("127.0.0.1\tlocalhost\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"ff02::1\tip6-allnodes\n" +
			"ff02::2\tip6-allrouters\n")
		names := s.Hostname
		if short, _, long := strings.Cut(s.Hostname, "."); long {
			names += " " + short
		}
		own := s.Addresses
		if len(own) == 0 {
			own = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 1, 1})} // as Debian has it for a host without a fixed one
		}
		for _, ip := range own {
			fmt.Fprintf(&b, "%s\t%s\n", ip, names)
		}
	}
	for _, extra := range s.Extra {
		name, ip, err := parseExtra(extra, s.Gateway)
		if err != nil {
			return nil, fmt.Errorf("extra host %q: %w", extra, err)
		}
		fmt.Fprintf(&b, "%s\t%s\n", ip, name)
	}
	return b.Bytes(), nil
}

// parseExtra reads NAME:ADDRESS, where an IPv6 address may stand in brackets.
func parseExtra(s string, gateway netip.Addr) (name string, ip netip.Addr, err error) {
	name, address, ok := strings.Cut(s, ":")
	if !ok {
		return "", ip, errors.New("want NAME:ADDRESS")
	}
	if err := checkName(name); err != nil {
		return "", ip, fmt.Errorf("name %q: %w", name, err)
	}
	if address == "host-gateway" {
		if !gateway.IsValid() {
			return "", ip, errors.New("host-gateway: the box has no gateway")
		}
		return name, gateway, nil
	}
	if inner, ok := strings.CutPrefix(address, "["); ok {
		address = strings.TrimSuffix(inner, "]")
	}
	if ip, err = netip.ParseAddr(address); err != nil || ip.Zone() != "" {
		return "", ip, fmt.Errorf("address %q: want an IP address or host-gateway", address)
	}
	return name, ip, nil
}

// checkName wants a name of letters, digits, '-' and '_', in labels: what can stand in all three files and be asked
// for.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("longer than %d bytes", maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("an empty name or label")
		case len(label) > maxLabel:
			return fmt.Errorf("label %q: longer than %d bytes", label, maxLabel)
		case strings.ContainsFunc(label, func(r rune) bool { return !nameRune(r) }):
			return fmt.Errorf("label %q: want letters, digits, '-' and '_'", label)
		case label[0] == '-':
			return fmt.Errorf("label %q: begins with '-'", label)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
