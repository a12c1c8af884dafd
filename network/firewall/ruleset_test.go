package firewall

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
	"tandem/network/netns"
	"tandem/network/port"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func newHost(t *testing.T) *netns.NS {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.NetNS)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func open(t *testing.T, ns *netns.NS) *Conn {
	t.Helper()
	c, err := Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mappings(t *testing.T, texts ...string) []port.Mapping {
	t.Helper()
	var all []port.Mapping
	for _, text := range texts {
		m, err := port.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// example has every form of rule.
func example(t *testing.T) Ruleset {
	return Ruleset{
		Bridge: "tandem0",
		IPv4:   netip.MustParsePrefix("10.77.0.0/22"),
		IPv6:   netip.MustParsePrefix("fd12:3456:789a::/64"),
		Boxes: []Box{
			{
				ID:   "web",
				IPv4: netip.MustParseAddr("10.77.0.2"), IPv6: netip.MustParseAddr("fd12:3456:789a::2"),
				Ports: mappings(t, "8080:80", "192.0.2.1:53:53/udp", "127.0.0.1:9000:90", "[::1]:9000:90"),
			},
			{
				ID:    "no-ipv6",
				IPv4:  netip.MustParseAddr("10.77.0.3"),
				Ports: mappings(t, "8000-8010:8000-8010", "8100-8102:9100-9102/udp", "[2001:db8::1]:443:443", "8443:443"),
			},
			{
				ID:   "six",
				IPv4: netip.MustParseAddr("10.77.0.4"), IPv6: netip.MustParseAddr("fd12:3456:789a::4"),
				Ports: mappings(t, "[2001:db8::1]:8443:443", "[::]:7000-7001:7000-7001/udp"),
			},
		},
	}
}

func nft(t *testing.T, ns *netns.NS, stdin string, arguments ...string) string {
	t.Helper()
	var out strings.Builder
	err := ns.Do(func() error { // a process is started in the namespace of the thread that starts it
		cmd := exec.Command("nft", arguments...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
		return cmd.Run()
	})
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", arguments, err, out.String())
	}
	return out.String()
}

// TestRulesetAsNFTPrintsIt holds the text against a file for people to read, and against what nft(8) makes of the rules
// in the kernel: so the text that a plan prints is what the kernel has.
func TestRulesetAsNFTPrintsIt(t *testing.T) {
	r := example(t)
	golden := filepath.Join("testdata", "tandem0.nft")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != string(want) {
		t.Errorf("the ruleset prints as\n%s\nwant %s:\n%s", r, golden, want)
	}

	testenv.Need(t, testenv.NFT)
	ns := newHost(t)
	c := open(t, ns)
	if err := c.Apply(r); err != nil {
		t.Fatal(err)
	}
	if got := nft(t, ns, "", "list", "ruleset"); got != r.String() {
		t.Errorf("the kernel has\n%s\nwant\n%s", got, r)
	}
}

// TestPrintedRulesetCanBeLoaded: what is printed is nft(8)'s language.
func TestPrintedRulesetCanBeLoaded(t *testing.T) {
	testenv.Need(t, testenv.NFT)
	ns := newHost(t)
	r := example(t)
	nft(t, ns, r.String(), "-f", "-")
	if got := nft(t, ns, "", "list", "ruleset"); got != r.String() {
		t.Errorf("loaded, it is\n%s\nwant\n%s", got, r)
	}
}

func TestBoxWithoutIPv6HasNoRuleForIt(t *testing.T) {
	b := Box{ID: "a", IPv4: netip.MustParseAddr("10.77.0.2"), Ports: mappings(t, "8080:80", "[::]:81:81", "[::1]:82:82")}
	const want = `meta nfproto ipv4 tcp dport 8080 dnat ip to 10.77.0.2:80 comment "a"`
	if got := b.Lines(); len(got) != 1 || got[0].Text != want {
		t.Errorf("rules %+v, want %s", got, want)
	}
}
