package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/internal/testenv"
	"tandem/network/lease"
	"tandem/network/netns"
	"tandem/network/port"
)

var goodModes = map[string]Mode{
	"":                     {},
	"bridge":               {},
	"bridge=tandem-web":    {Value: "tandem-web"},
	"none":                 {Kind: ModeNone},
	"host":                 {Kind: ModeHost},
	"container:web":        {Kind: ModeContainer, Value: "web"},
	"ns:/run/netns/blue":   {Kind: ModePath, Value: "/run/netns/blue"},
	"ns:/run/netns/../a/b": {Kind: ModePath, Value: "/run/a/b"},
}

func TestParseMode(t *testing.T) {
	for text, want := range goodModes {
		m, err := ParseMode(text)
		if err != nil || m != want {
			t.Errorf("ParseMode(%q) = %+v, %v, want %+v", text, m, err, want)
		}
		if again, err := ParseMode(m.String()); err != nil || again != m {
			t.Errorf("ParseMode(%q) = %+v, %v, want %+v", m.String(), again, err, m)
		}
		if own := m.Kind == ModeBridge || m.Kind == ModeNone; m.NewNamespace() != own {
			t.Errorf("%v: NewNamespace() = %v", m, m.NewNamespace())
		}
	}
	for _, text := range []string{
		"Bridge", "nat", "bridge:", "bridge=", "bridge=br0", "bridge=tandem", "bridge=tandem0123456789", "bridge=tandem/0",
		"container", "container:", "ns:", "ns:blue", "ns:/a\x00b", "host ", "none,host",
	} {
		if m, err := ParseMode(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("mode %q", text)) {
			t.Errorf("ParseMode(%q) = %+v, %v", text, m, err)
		}
	}
}

// FuzzParseMode holds that what is accepted can be written and read again.
func FuzzParseMode(f *testing.F) {
	for text := range goodModes {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMode(text)
		if err != nil {
			return
		}
		if again, err := ParseMode(m.String()); err != nil || again != m {
			t.Errorf("ParseMode(%q) = %+v, again %+v, %v", text, m, again, err)
		}
		if m.Kind == ModePath && !filepath.IsAbs(m.Value) {
			t.Errorf("ParseMode(%q) has path %q", text, m.Value)
		}
	})
}

func TestBadSpecs(t *testing.T) {
	good := Spec{ID: "web", NetNS: "/proc/4711/ns/net", State: t.TempDir()}
	for want, change := range map[string]func(*Spec){
		`ID ""`:                        func(s *Spec) { s.ID = "" },
		`ID "a b"`:                     func(s *Spec) { s.ID = "a b" },
		`ID "../a"`:                    func(s *Spec) { s.ID = "../a" },
		"up to 128":                    func(s *Spec) { s.ID = strings.Repeat("a", 129) },
		`state "state"`:                func(s *Spec) { s.State = "state" },
		`bridge "br0"`:                 func(s *Spec) { s.Mode.Value = "br0" },
		`interface "eth/0"`:            func(s *Spec) { s.Interface = "eth/0" },
		`interface "lo"`:               func(s *Spec) { s.Interface = "lo" },
		`interface "eth%d"`:            func(s *Spec) { s.Interface = "eth%d" },
		`interface "0123456789abcdef"`: func(s *Spec) { s.Interface = "0123456789abcdef" },
		"no namespace":                 func(s *Spec) { s.NetNS = "" },
		"a tap stays on the host":      func(s *Spec) { s.Tap = &Tap{} },
		"tap with 257 queues":          func(s *Spec) { s.Tap, s.NetNS = &Tap{Queues: 257}, "" },
		"tap of user -1":               func(s *Spec) { s.Tap, s.NetNS = &Tap{UID: -1}, "" },
		"subnet 10.0.0.1/24":           func(s *Spec) { s.IPv4 = netip.MustParsePrefix("10.0.0.1/24") },
		"subnet fe80::/64": func(s *Spec) {
			s.IPv4, s.IPv6 = netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fe80::/64")
		},
		"want an IPv4 prefix":          func(s *Spec) { s.IPv6 = netip.MustParsePrefix("fd00::/64") },
		"MTU 67":                       func(s *Spec) { s.MTU = 67 },
		"MTU 65522":                    func(s *Spec) { s.MTU = 65522 },
		"address fd00::2: without":     func(s *Spec) { s.NoIPv6, s.Address = true, netip.MustParseAddr("fd00::2") },
		"address fd00::2: IPv6 needs":  func(s *Spec) { s.MTU, s.Address = 600, netip.MustParseAddr("fd00::2") },
		"address fe80::1%1":            func(s *Spec) { s.Address = netip.MustParseAddr("fe80::1%1") },
		"address 198.51.100.1: not in": func(s *Spec) { s.Address = netip.MustParseAddr("198.51.100.1") },
		"MAC 01:00":                    func(s *Spec) { s.MAC = net.HardwareAddr{1, 0, 0, 0, 0, 0} },
		"MAC is zero":                  func(s *Spec) { s.MAC = make(net.HardwareAddr, 6) },
		"want 6 bytes":                 func(s *Spec) { s.MAC = make(net.HardwareAddr, 8) },
		"port 0 of the box":            func(s *Spec) { s.Ports = []port.Mapping{{Count: 1, Protocol: port.TCP}} },
		"8080:81/tcp: port is taken by 8080:80/tcp of the same box": func(s *Spec) {
			s.Ports = []port.Mapping{
				{HostPort: 8080, BoxPort: 80, Count: 1, Protocol: port.TCP},
				{HostPort: 8080, BoxPort: 81, Count: 1, Protocol: port.TCP},
			}
		},
		"mode host: ports": func(s *Spec) {
			s.Mode.Kind, s.Ports = ModeHost, []port.Mapping{{HostPort: 1, BoxPort: 1, Count: 1, Protocol: port.TCP}}
		},
		"mode none: a tap":      func(s *Spec) { s.Mode.Kind, s.Tap = ModeNone, &Tap{} },
		"mode none: address":    func(s *Spec) { s.Mode.Kind, s.Address = ModeNone, netip.MustParseAddr("10.0.0.2") },
		"mode none: no":         func(s *Spec) { s.Mode.Kind, s.NetNS = ModeNone, "" },
		"mode container:a: no":  func(s *Spec) { s.Mode, s.NetNS = Mode{ModeContainer, "a"}, "" },
		"mode ns:/a: and names": func(s *Spec) { s.Mode = Mode{ModePath, "/a"} },
	} {
		s := good
		change(&s)
		_, err := Prepare(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "network: ") {
			t.Errorf("Prepare = %v, want an error with %q", err, want)
		}
	}
}

// TestPlanPrints needs no privilege, and changes nothing. The text is in testdata, for people.
func TestPlanPrints(t *testing.T) {
	state := filepath.Join(t.TempDir(), "none")
	spec := Spec{
		ID: "web", NetNS: "/proc/4711/ns/net", State: state, MTU: 1500,
		IPv4: netip.MustParsePrefix("10.77.0.0/22"), IPv6: netip.MustParsePrefix("fd12:3456:789a::/64"),
	}
	for _, text := range []string{"8080:80", "127.0.0.1:8053:53/udp"} {
		m, err := port.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		spec.Ports = append(spec.Ports, m)
	}
	vm := spec
	vm.ID, vm.NetNS, vm.Ports, vm.Tap = "vm", "", nil, &Tap{UID: 1000, GID: 1000, Queues: 2, VNetHdr: true}
	withoutPrivilege(t, func() {
		for _, s := range []Spec{spec, vm} {
			setup, err := Prepare(t.Context(), s)
			if err != nil {
				t.Error(err)
				return
			}
			p := plan.New("network of " + s.ID)
			p.Phases = setup.Phases()
			var b strings.Builder
			if err := p.WriteText(&b); err != nil {
				t.Error(err)
			}
			got := strings.ReplaceAll(b.String(), state, DefaultState)
			golden := filepath.Join("testdata", s.ID+".plan")
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("the plan prints as\n%s\n%v, want %s:\n%s", got, err, golden, difference(string(want), got))
			}
			if text, err := p.MarshalJSON(); err != nil || !strings.Contains(string(text), "10.77.0.2/22") {
				t.Errorf("as JSON: %s, %v", text, err)
			}
		}
	})
	if _, err := os.Lstat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("printing made %s: %v", state, err)
	}
}

// withoutPrivilege calls f on a thread that has no capabilities.
func withoutPrivilege(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		err := unix.Capset(&header, &none[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestModesWithoutABridge(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	ns := w.namespace()
	lo := func() net.Flags {
		link, err := w.handle(ns).LinkByName("lo")
		w.must(err)
		return link.Attrs().Flags
	}
	for _, text := range []string{"host", "ns:" + ns.Path(), "container:web", "none"} {
		m, err := ParseMode(text)
		w.must(err)
		s := w.spec("a", nil)
		s.Mode = m
		if m.Kind != ModePath && m.Kind != ModeHost {
			s.NetNS = ns.Path()
		}
		a, err := Attach(t.Context(), s)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if len(a.Addresses) != 0 || a.Link != "" || a.Mode != m {
			t.Errorf("%s: %+v", text, a)
		}
		if up := lo()&net.FlagUp != 0; up != (m.Kind == ModeNone) {
			t.Errorf("%s: lo is up: %v", text, up)
		}
		w.must(Detach(t.Context(), a))
	}
	s := w.spec("a", nil)
	s.Mode = Mode{ModePath, "/proc/self/ns/mnt"}
	_, err := Attach(t.Context(), s)
	if !errors.Is(err, netns.ErrNotNetNS) || !strings.Contains(err.Error(), "/proc/self/ns/mnt") {
		t.Errorf("Attach to a mount namespace = %v", err)
	}
	w.same("afterwards", before, w.snapshot())
}

func TestWhatTheFirstBoxDecides(t *testing.T) {
	w := newWorld(t)
	first := w.spec("first", w.namespace())
	first.IPv4, first.IPv6 = netip.MustParsePrefix("10.5.0.0/24"), netip.MustParsePrefix("fd55::/64")
	a := w.attachSpec(first)
	if a.MTU != uplinkMTU || a.MAC != "02:54:0a:05:00:02" ||
		fmt.Sprint(a.Addresses) != "[10.5.0.2/24 fd55::2/64]" || fmt.Sprint(a.Gateways) != "[10.5.0.1 fd55::1]" {
		t.Errorf("attached %+v", a)
	}
	second := w.spec("second", w.namespace())
	second.MTU, second.Address, second.Interface = 1300, netip.MustParseAddr("fd55::99"), "net1"
	second.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	b := w.attachSpec(second)
	if b.MTU != 1300 || b.MAC != "02:00:00:00:00:09" || b.Interface != "net1" ||
		fmt.Sprint(b.Addresses) != "[10.5.0.153/24 fd55::99/64]" {
		t.Errorf("attached %+v", b)
	}
	small := w.spec("small", w.namespace())
	small.MTU = 600
	if c := w.attachSpec(small); len(c.Addresses) != 1 || !strings.Contains(fmt.Sprint(c.Notes), "MTU of 600") {
		t.Errorf("attached %+v", c)
	}
	bridge, err := w.handle(w.host).LinkByName("tandem0")
	w.must(err)
	if bridge.Attrs().MTU != uplinkMTU {
		t.Errorf("the bridge's MTU is %d, want %d whatever is plugged in", bridge.Attrs().MTU, uplinkMTU)
	}
	for want, change := range map[string]func(*Spec){
		"subnet 10.6.0.0/24: tandem0 has 10.5.0.0/24": func(s *Spec) { s.IPv4 = netip.MustParsePrefix("10.6.0.0/24") },
		"subnet fd66::/64: tandem0 has fd55::/64": func(s *Spec) {
			s.IPv4, s.IPv6 = netip.MustParsePrefix("10.5.0.0/24"), netip.MustParsePrefix("fd66::/64")
		},
		"MTU 1500: tandem0 has 1400": func(s *Spec) { s.MTU = 1500 },
		"address is taken by first":  func(s *Spec) { s.Address = netip.MustParseAddr("10.5.0.2") },
		"want one from 10.5.0.2":     func(s *Spec) { s.Address = netip.MustParseAddr("10.5.0.1") },
	} {
		s := w.spec("third", w.namespace())
		change(&s)
		if _, err := Attach(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Attach = %v, want %q", err, want)
		}
	}
	nowhere := w.spec("x", nil)
	nowhere.NetNS = "/nonexistent"
	if _, err := Attach(t.Context(), nowhere); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Attach to no namespace = %v", err)
	}
}

func TestSubnetsAvoidWhatTheHostHas(t *testing.T) {
	w := newWorld(t)
	for _, taken := range []string{"10.77.0.0/24", "10.77.6.0/32", "10.0.0.0/7", "0.0.0.0/1"} {
		w.route(w.host, "uplink", netip.MustParsePrefix(taken), outsideIP4)
	}
	if got := w.attach("a").Addresses[0].String(); got != "10.77.8.2/22" {
		t.Errorf("address %s, want the first that is in no route", got)
	}
	w.route(w.host, "uplink", netip.MustParsePrefix("10.0.0.0/8"), outsideIP4)
	s := w.spec("b", w.namespace())
	s.Mode.Value = "tandem1"
	if got := w.attachSpec(s).Addresses[0].String(); !strings.HasPrefix(got, "172.29.") {
		t.Errorf("address %s, want one of 172.29.0.0/16", got)
	}
	w.route(w.host, "uplink", netip.MustParsePrefix("172.16.0.0/12"), outsideIP4)
	w.route(w.host, "uplink", netip.MustParsePrefix("192.168.0.0/16"), outsideIP4)
	s.Mode.Value, s.ID, s.NetNS = "tandem2", "c", w.namespace().Path()
	if _, err := Attach(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no subnet") {
		t.Errorf("Attach without a free subnet = %v", err)
	}
	s.IPv4 = netip.MustParsePrefix("10.200.0.0/24") // asked for
	w.attachSpec(s)
}

func TestChooseSubnets(t *testing.T) {
	for bridge, want := range map[string]string{
		"tandem0": "10.77.0.0/22", "tandem1": "10.77.4.0/22", "tandem63": "10.77.252.0/22", "tandem64": "10.177.0.0/22",
		"tandem-b7": "10.77.28.0/22",
	} {
		if got, err := chooseSubnet4(bridge, nil); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", bridge, got, err, want)
		}
	}
	six := chooseSubnet6("tandem0", nil)
	err := lease.CheckSubnets(netip.MustParsePrefix("10.0.0.0/24"), six)
	if six.Bits() != 64 || six.Addr().As16()[0] != 0xfd || err != nil {
		t.Errorf("IPv6 subnet %v", six)
	}
	if other := chooseSubnet6("tandem0", []netip.Prefix{six}); other.Overlaps(six) {
		t.Errorf("%v overlaps what is taken", other)
	}
	if six == chooseSubnet6("tandem1", nil) {
		t.Errorf("two bridges have %v", six)
	}
}

func TestWithoutIPv6(t *testing.T) {
	w := newWorld(t)
	a := w.attach("with")
	s := w.spec("without", w.namespace(), "8080:80")
	s.NoIPv6 = true
	ns, err := netns.Open(s.NetNS)
	w.must(err)
	defer ns.Close()
	b := w.attachSpec(s)
	if len(a.Addresses) != 2 || len(b.Addresses) != 1 || len(b.Gateways) != 1 {
		t.Errorf("addresses %v and %v", a.Addresses, b.Addresses)
	}
	if value, err := (&space{ns: ns}).sysctl("net/ipv6/conf/eth0/disable_ipv6"); err != nil || value != "1" {
		t.Errorf("disable_ipv6 = %s, %v", value, err)
	}
	// Its published port is there for IPv6, too, by the relay.
	w.relay(b)
	w.serve(ns, "tcp", ":80", "b")
	w.asks(w.outside, "tcp", at(hostIP6, 8080), "b "+b.Gateways[0].String()+" hello")
	w.asks(w.outside, "tcp", at(hostIP4, 8080), "b "+outsideIP4+" hello")
}

// TestHostWithoutIPv6 has it switched off, or a link too small for it.
func TestHostWithoutIPv6(t *testing.T) {
	for want, change := range map[string]func(*world){
		"disable_ipv6 is 1": func(w *world) { w.sysctl(w.host, "net/ipv6/conf/default/disable_ipv6", "1") },
		"MTU of 1000": func(w *world) {
			link, err := w.handle(w.host).LinkByName("uplink")
			w.must(err)
			w.must(w.handle(w.host).LinkSetMTU(link, 1000))
		},
	} {
		w := newWorld(t)
		change(w)
		a, b := w.attach("a", "8080:80"), w.attach("b")
		if len(a.Addresses) != 1 || len(b.Addresses) != 1 || !strings.Contains(fmt.Sprint(a.Notes), want) {
			t.Errorf("addresses %v, %v, notes %q, want %q", a.Addresses, b.Addresses, a.Notes, want)
		}
		w.serve(w.outside, "tcp", ":7000", "outside")
		w.asks(b.ns, "tcp", at(outsideIP4, 7000), "outside "+hostIP4+" hello")
		s := w.spec("c", w.namespace())
		s.Mode.Value, s.IPv4, s.IPv6 = "tandem1", netip.MustParsePrefix("10.5.0.0/24"), netip.MustParsePrefix("fd55::/64")
		if _, err := Attach(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Attach with an IPv6 subnet = %v, want %q", err, want)
		}
	}
}

// TestHostWithoutUplink: boxes reach each other all the same.
func TestHostWithoutUplink(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.NetNS)
	w := &world{t: t, state: filepath.Join(t.TempDir(), "state")}
	w.host = w.namespace()
	a, b := w.attach("a"), w.attach("b")
	if a.MTU != defaultMTU {
		t.Errorf("MTU %d, want %d", a.MTU, defaultMTU)
	}
	w.serve(b.ns, "tcp", ":80", "b")
	w.asks(a.ns, "tcp", at(b.ip(false), 80), "b "+a.ip(false)+" hello")
	w.asks(a.ns, "tcp", at(b.ip(true), 80), "b "+a.ip(true)+" hello")
}

// TestNamespaceThatIsOpenedLater is that of a process which an earlier step of the caller's plan starts.
func TestNamespaceThatIsOpenedLater(t *testing.T) {
	w := newWorld(t)
	var ns *netns.NS
	s := w.spec("a", nil)
	s.NetNS = "of the child"
	s.OpenNetNS = func() (*os.File, error) { return os.Open(ns.Path()) }
	setup, err := Prepare(t.Context(), s)
	w.must(err)
	ns = w.namespace()
	p := plan.New("test")
	p.Phases = setup.Phases()
	done, err := p.Run(t.Context())
	w.must(err)
	link, err := w.handle(ns).LinkByName("eth0")
	w.must(err)
	if link.Attrs().HardwareAddr.String() != setup.Attachment().MAC {
		t.Errorf("eth0 has MAC %s, want %s", link.Attrs().HardwareAddr, setup.Attachment().MAC)
	}
	w.must(done.Undo())
}
