package resolv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unicode"
)

const (
	hostConf    = "/etc/resolv.conf"
	systemdConf = "/run/systemd/resolve/resolv.conf" // the servers that systemd-resolved asks, see its man page
	maxConf     = 1 << 20
)

// public servers are taken where the host has none that a box could ask.
var (
	public4 = []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("8.8.4.4")}
	public6 = []netip.Addr{netip.MustParseAddr("2001:4860:4860::8888"), netip.MustParseAddr("2001:4860:4860::8844")}
)

// conf is a resolv.conf (resolv.conf(5)) taken apart.
type conf struct {
	servers  []string
	search   []string
	options  []string
	sortlist []string
}

// ReadHost reads the host's resolv.conf. If all of its servers are on the host's lo, and systemd-resolved runs, it is
// the file of the servers behind that; keepLoopback, for a box that has the host's lo, asks for the first in any
// case. A host without the file has an empty one.
func ReadHost(keepLoopback bool) ([]byte, error) {
	if keepLoopback {
		return readHost(hostConf, "")
	}
	return readHost(hostConf, systemdConf)
}

func readHost(path, behind string) ([]byte, error) {
	text, err := read(path)
	if err != nil || behind == "" || !loopbackOnly(text) {
		return text, err
	}
	if better, err := read(behind); err == nil && !loopbackOnly(better) {
		return better, nil
	}
	return text, nil
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resolv: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConf+1))
	if err == nil && len(text) > maxConf {
		err = fmt.Errorf("more than %d bytes", maxConf)
	}
	if err != nil {
		return nil, fmt.Errorf("resolv: %s: %w", path, err)
	}
	return text, nil
}

// Servers are the addresses of the name servers in a resolv.conf.
func Servers(text []byte) []netip.Addr {
	var all []netip.Addr
	for _, s := range parse(text).servers {
		if ip, err := netip.ParseAddr(s); err == nil {
			all = append(all, ip)
		}
	}
	return all
}

func loopbackOnly(text []byte) bool {
	return !slices.ContainsFunc(Servers(text), func(ip netip.Addr) bool { return !ip.IsLoopback() })
}

// parse takes a resolv.conf apart as the C library does: keywords begin a line, the last search or domain counts.
func parse(text []byte) conf {
	var c conf
	for line := range bytes.Lines(text) {
		if line[0] == '#' || line[0] == ';' || unicode.IsSpace(rune(line[0])) {
			continue
		}
		words := strings.FieldsFunc(string(line), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			c.servers = append(c.servers, words[1])
		case "search":
			c.search = words[1:]
		case "domain":
			c.search = words[1:2]
		case "options":
			c.options = append(c.options, words[1:]...)
		case "sortlist":
			c.sortlist = words[1:]
		} // the C library passes over others, and so does the box's
	}
	return c
}

func (c conf) bytes() []byte {
	var b bytes.Buffer
	for _, s := range c.servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(c.search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(c.search, " "))
	}
	if len(c.options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(c.options, " "))
	}
	if len(c.sortlist) > 0 {
		fmt.Fprintf(&b, "sortlist %s\n", strings.Join(c.sortlist, " "))
	}
	return b.Bytes()
}

// makeConf makes the box's resolv.conf.
func makeConf(s Spec) (text []byte, notes []string, err error) {
	c := parse(s.HostResolvConf)
	if len(s.Servers) > 0 {
		c.servers = nil
		for _, ip := range s.Servers {
			if !ip.IsValid() || ip.Zone() != "" {
				return nil, nil, fmt.Errorf("name server %v: want an IP address without a zone", ip)
			}
			c.servers = append(c.servers, ip.String())
		}
	} else {
		c.servers, notes = s.usable(c.servers)
	}
	switch {
	case len(s.Search) == 1 && s.Search[0] == ".":
		c.search = nil
	case len(s.Search) > 0:
		for _, domain := range s.Search {
			if err := checkName(strings.TrimSuffix(domain, ".")); err != nil {
				return nil, nil, fmt.Errorf("search domain %q: %w", domain, err)
			}
		}
		c.search = s.Search
	}
	if len(s.Options) > 0 {
		for _, o := range s.Options {
			if o == "" || strings.ContainsFunc(o, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
				return nil, nil, fmt.Errorf("option %q: want one word", o)
			}
		}
		c.options = s.Options
	}
	return c.bytes(), notes, nil
}

// usable leaves out the host's servers that the box can't ask, and says why.
func (s Spec) usable(servers []string) (usable, notes []string) {
	drop := func(server, why string) {
		notes = append(notes, fmt.Sprintf("the host's name server %s is left out: %s", server, why))
	}
	for _, server := range servers {
		ip, err := netip.ParseAddr(server)
		switch {
		case err != nil:
			drop(fmt.Sprintf("%q", server), "it is no IP address")
		case s.KeepLoopback:
			usable = append(usable, server)
		case ip.IsLoopback() || ip.IsUnspecified(): // 0.0.0.0 is this host, too
			drop(server, "it is the host's own, and a box has another lo")
		case ip.Zone() != "" || ip.IsLinkLocalUnicast() && ip.Is6():
			drop(server, "it is on a link of the host")
		case ip.Is6() && !ip.Is4In6() && !s.IPv6:
			drop(server, "the box has no IPv6")
		default:
			usable = append(usable, server)
		}
	}
	if len(usable) > 0 || s.KeepLoopback {
		return usable, notes
	}
	public := slices.Clone(public4)
	if s.IPv6 {
		public = append(public, public6...)
	}
	for _, ip := range public {
		usable = append(usable, ip.String())
	}
	return usable, append(notes, fmt.Sprintf(
		"the host has no name server that a box can ask: using the public %s; --dns chooses others", strings.Join(usable, ", ")))
}
