package port

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const maxPort = 1<<16 - 1

// Parse reads the value of -p as docker spells it:
//
//	80                       any free port of the host to the box's port 80
//	8080:80                  on all addresses, IPv4 and IPv6
//	127.0.0.1:8080:80/udp    one address, UDP
//	[::1]:8080:80            IPv6
//	127.0.0.1::80            any free port of one address, as is 127.0.0.1:0:80
//	8000-8009:9000-9009      ranges of one size
//	8000-8010:80             any of the range that is free
func Parse(s string) (Mapping, error) {
	m, err := parse(s)
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		return Mapping{}, fmt.Errorf("port: %q: %w", s, err)
	}
	return m, nil
}

func parse(s string) (m Mapping, err error) {
	rest, protocol, given := strings.Cut(s, "/")
	m.Protocol = TCP
	if given {
		m.Protocol = Protocol(strings.ToLower(protocol))
	}
	if rest, m.HostIP, err = cutAddress(rest); err != nil {
		return m, err
	}
	host, box, both := strings.Cut(rest, ":")
	if !both {
		if m.HostIP.IsValid() {
			return m, errForm // an address alone: whether the port is the host's or the box's can't be told
		}
		host, box = "", rest
	}
	first, last, err := parseRange(box)
	if err != nil {
		return m, err
	}
	m.BoxPort, m.Count = first, last-first+1
	if host == "" || host == "0" {
		return m, nil
	}
	if first, last, err = parseRange(host); err != nil {
		return m, err
	}
	m.HostPort = first
	switch n := last - first + 1; {
	case n == m.Count:
	case m.Count == 1:
		m.Choices = n
	default:
		return m, fmt.Errorf("%d ports of the host for %d of the box", n, m.Count)
	}
	return m, nil
}

// cutAddress takes off the host's address: what stands in brackets, or before the last two colons.
func cutAddress(s string) (rest string, ip netip.Addr, err error) {
	var text string
	switch {
	case strings.HasPrefix(s, "["):
		var ok bool
		if text, rest, ok = strings.Cut(s[1:], "]:"); !ok {
			return "", ip, errForm
		}
		if !strings.Contains(text, ":") {
			return "", ip, fmt.Errorf("host address %q: brackets are for IPv6", text)
		}
	case strings.Count(s, ":") == 2:
		text, rest, _ = strings.Cut(s, ":")
	case strings.Count(s, ":") > 2:
		return "", ip, fmt.Errorf("%w, with an IPv6 address in brackets", errForm)
	default:
		return s, ip, nil
	}
	if text == "" {
		return "", ip, errForm
	}
	if ip, err = netip.ParseAddr(text); err != nil {
		return "", ip, fmt.Errorf("host address %q: want an IP address", text)
	}
	return rest, ip, nil
}

// parseRange reads FIRST or FIRST-LAST.
func parseRange(s string) (first, last uint16, err error) {
	from, to, both := strings.Cut(s, "-")
	if first, err = parseNumber(from); err != nil {
		return 0, 0, err
	}
	if !both {
		return first, first, nil
	}
	if last, err = parseNumber(to); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("range %s: ends before it begins", s)
	}
	return first, last, nil
}

func parseNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case s == "":
		return 0, errForm
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("port %s: want 1 to %d", s, maxPort)
	case err != nil:
		return 0, fmt.Errorf("port %q: not a number", s)
	case n == 0:
		return 0, fmt.Errorf("port 0: want 1 to %d, or nothing for any that is free", maxPort)
	case s[0] == '0' || s[0] == '+':
		return 0, fmt.Errorf("port %q: not a number", s)
	}
	return uint16(n), nil
}

// String is what [Parse] reads.
func (m Mapping) String() string {
	var b strings.Builder
	if m.HostIP.IsValid() {
		if m.HostIP.Is4() {
			b.WriteString(m.HostIP.String() + ":")
		} else {
			b.WriteString("[" + m.HostIP.String() + "]:")
		}
	}
	if m.HostPort != 0 {
		b.WriteString(formatRange(m.HostPort, max(m.Count, m.Choices)))
	}
	if m.HostPort != 0 || m.HostIP.IsValid() {
		b.WriteByte(':')
	}
	b.WriteString(formatRange(m.BoxPort, m.Count))
	b.WriteString("/" + string(m.Protocol))
	return b.String()
}

func formatRange(first, n uint16) string {
	if n <= 1 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, int(first)+int(n)-1)
}
