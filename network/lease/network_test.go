package lease

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tandem/internal/process"
	"tandem/internal/testenv"
	"tandem/network/port"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func newNetwork(ipv4, ipv6 string) *Network {
	n := &Network{Version: version, Bridge: "tandem0", IPv4: netip.MustParsePrefix(ipv4), MTU: 1500}
	if ipv6 != "" {
		n.IPv6 = netip.MustParsePrefix(ipv6)
	}
	return n
}

func take(t *testing.T, n *Network, id, want string) *Lease {
	t.Helper()
	var ip netip.Addr
	if want != "" {
		ip = netip.MustParseAddr(want)
	}
	l, err := n.Take(id, ip)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAddresses(t *testing.T) {
	n := newNetwork("10.77.0.0/22", "fd12:3456:789a::/64")
	for number, want := range map[uint32]string{
		1:    "[10.77.0.1/22 fd12:3456:789a::1/64]",
		2:    "[10.77.0.2/22 fd12:3456:789a::2/64]",
		256:  "[10.77.1.0/22 fd12:3456:789a::100/64]",
		1022: "[10.77.3.254/22 fd12:3456:789a::3fe/64]",
	} {
		var got []string
		for _, p := range n.Addresses(number) {
			got = append(got, p.String())
		}
		if text := "[" + strings.Join(got, " ") + "]"; text != want {
			t.Errorf("Addresses(%d) = %s, want %s", number, text, want)
		}
	}
	if n = newNetwork("10.77.0.0/22", ""); len(n.Addresses(2)) != 1 || n.Address6(2).IsValid() {
		t.Errorf("without IPv6: %v", n.Addresses(2))
	}
}

// TestTakeGoesRound: a number that was given back comes again last.
func TestTakeGoesRound(t *testing.T) {
	n := newNetwork("192.0.2.0/29", "") // 2 to 6
	var got []uint32
	for _, id := range []string{"a", "b", "c"} {
		got = append(got, take(t, n, id, "").Number)
	}
	n.Release("b")
	for _, id := range []string{"d", "e", "f"} {
		got = append(got, take(t, n, id, "").Number)
	}
	if want := []uint32{2, 3, 4, 5, 6, 3}; !slices.Equal(got, want) {
		t.Errorf("numbers %v, want %v", got, want)
	}
	if _, err := n.Take("g", netip.Addr{}); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "192.0.2.0/29") {
		t.Errorf("Take from a full network = %v, want %v", err, ErrFull)
	}
	n.Release("a")
	if l := take(t, n, "g", ""); l.Number != 2 {
		t.Errorf("Take gives %d, want the one that is free", l.Number)
	}
	if err := n.check("tandem0"); err == nil {
		t.Error("leases without links pass for sound")
	}
}

func TestTakeOneAddress(t *testing.T) {
	n := newNetwork("10.77.0.0/24", "fd12::/64")
	if l := take(t, n, "a", "10.77.0.9"); l.Number != 9 {
		t.Errorf("number %d, want 9", l.Number)
	}
	if l := take(t, n, "b", "fd12::20"); l.Number != 32 {
		t.Errorf("number %d, want 32", l.Number)
	}
	for ip, want := range map[string]string{
		"10.77.0.32":    "taken by b", // the same number
		"fd12::9":       "taken by a",
		"10.77.0.0":     "from 10.77.0.2 to 10.77.0.254",
		"10.77.0.1":     "from 10.77.0.2 to 10.77.0.254",
		"10.77.0.255":   "from 10.77.0.2 to 10.77.0.254",
		"10.77.1.2":     "not in tandem0's subnet 10.77.0.0/24",
		"fd12::ff":      "from fd12::2 to fd12::fe",
		"fd12::1:2":     "from fd12::2 to fd12::fe",
		"fd12:0:0:1::2": "not in tandem0's subnet fd12::/64",
	} {
		if _, err := n.Take("c", netip.MustParseAddr(ip)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Take(%s) = %v, want an error with %q", ip, err, want)
		}
	}
	if _, err := n.Take("a", netip.Addr{}); err == nil {
		t.Error("a box gets a second lease")
	}
	n = newNetwork("10.77.0.0/24", "")
	if _, err := n.Take("a", netip.MustParseAddr("fd12::9")); err == nil {
		t.Error("an IPv6 address from a network without")
	}
}

func TestTakeFillsANetwork(t *testing.T) {
	n := newNetwork("10.77.0.0/22", "")
	seen := make(map[uint32]bool)
	for i := range 1021 {
		l := take(t, n, string(rune('a'+i%26))+strings.Repeat("x", i/26), "")
		if seen[l.Number] || l.Number < 2 || l.Number > 1022 {
			t.Fatalf("lease %d has number %d", i, l.Number)
		}
		seen[l.Number] = true
	}
	if n.Next() != 0 {
		t.Errorf("a full network offers %d", n.Next())
	}
}

func TestCheckSubnets(t *testing.T) {
	for _, test := range []struct {
		four, six string
		good      bool
	}{
		{"10.77.0.0/22", "", true},
		{"10.77.0.0/22", "fd12::/64", true},
		{"192.0.2.0/30", "2001:db8::/96", true},
		{"192.0.2.0/31", "", false},
		{"10.77.0.1/22", "", false},
		{"0.0.0.0/8", "", false},
		{"127.0.0.0/8", "", false},
		{"224.0.0.0/8", "", false},
		{"8.0.0.0/7", "", false},
		{"fd12::/64", "", false},
		{"10.77.0.0/22", "10.77.0.0/22", false},
		{"10.77.0.0/22", "fd12::1/64", false},
		{"10.77.0.0/22", "fd12::/112", false},
		{"10.77.0.0/22", "fe80::/64", false},
		{"10.77.0.0/22", "ff00::/16", false},
		{"10.77.0.0/22", "::ffff:0:0/96", false},
	} {
		var six netip.Prefix
		if test.six != "" {
			six = netip.MustParsePrefix(test.six)
		}
		if err := CheckSubnets(netip.MustParsePrefix(test.four), six); (err == nil) != test.good {
			t.Errorf("CheckSubnets(%s, %s) = %v", test.four, test.six, err)
		}
	}
}

func TestPorts(t *testing.T) {
	m, err := port.Parse("8080:80")
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork("10.77.0.0/24", "")
	take(t, n, "a", "").Ports = []port.Mapping{m}
	take(t, n, "b", "")
	if got := n.Ports("b"); len(got) != 1 || got[0].Box != "a" || got[0].Mapping != m {
		t.Errorf("Ports = %v", got)
	}
	if got := n.Ports("a"); len(got) != 0 {
		t.Errorf("Ports but a's own = %v", got)
	}
}

func TestProcess(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if !self.Alive() {
		t.Error("the test's own process is not alive")
	}
	other := self
	other.Started++
	if other.Alive() {
		t.Error("a PID that came again passes for the old process")
	}
	other = self
	other.Namespace++
	other.PID = 1 << 30
	if !other.Alive() {
		t.Error("a process of a namespace that can't be seen is taken for dead")
	}

	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := process.Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	child := Process{PID: id.PID, Started: id.Start, Namespace: self.Namespace}
	if !child.Alive() {
		t.Error("a child is not alive")
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if child.Alive() {
		t.Error("a child that ended is alive")
	}
	if _, err := process.Of(child.PID); !errors.Is(err, process.ErrGone) {
		t.Errorf("Of = %v", err)
	}
}
