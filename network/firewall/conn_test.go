package firewall

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables/userdata"

	"tandem/internal/testenv"
	"tandem/network/port"
)

func TestApplyReplacesAndRemoveRemoves(t *testing.T) {
	testenv.Need(t, testenv.NFT)
	ns := newHost(t)
	c := open(t, ns)
	r := example(t)
	if has, err := c.Has("tandem0"); has || err != nil {
		t.Errorf("Has before = %v, %v", has, err)
	}
	for range 2 { // the second changes nothing
		if err := c.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	r.Boxes = r.Boxes[1:]
	if err := c.Apply(r); err != nil {
		t.Fatal(err)
	}
	if got := nft(t, ns, "", "list", "ruleset"); got != r.String() {
		t.Errorf("the kernel has\n%s\nwant\n%s", got, r)
	}
	other := r
	other.Bridge, other.Boxes = "tandem1", nil
	if err := c.Apply(other); err != nil {
		t.Fatal(err)
	}
	if names, err := c.Tables(); err != nil || !slices.Equal(names, []string{"tandem0", "tandem1"}) {
		t.Errorf("Tables = %v, %v", names, err)
	}
	if has, err := c.Has("tandem0"); !has || err != nil {
		t.Errorf("Has = %v, %v", has, err)
	}
	for range 2 {
		if err := c.Remove("tandem0"); err != nil {
			t.Fatal(err)
		}
	}
	if got := nft(t, ns, "", "list", "ruleset"); got != other.String() {
		t.Errorf("the kernel has\n%s\nwant\n%s", got, other)
	}
	if err := c.Remove("tandem1"); err != nil {
		t.Fatal(err)
	}
	if got := nft(t, ns, "", "list", "ruleset"); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

// TestPublish comes to the same as Apply, whether the table is there or not.
func TestPublish(t *testing.T) {
	testenv.Need(t, testenv.NFT)
	for _, there := range []bool{true, false} {
		ns := newHost(t)
		c := open(t, ns)
		r := example(t)
		before := r
		before.Boxes = r.Boxes[:2]
		if there {
			if err := c.Apply(before); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Publish(r, "six"); err != nil {
			t.Fatal(err)
		}
		if got := nft(t, ns, "", "list", "ruleset"); got != r.String() {
			t.Errorf("the kernel has\n%s\nwant\n%s", got, r)
		}
	}
}

// TestApplyManyRules is more than a socket's usual buffers take.
func TestApplyManyRules(t *testing.T) {
	ns := newHost(t)
	c := open(t, ns)
	r := example(t)
	r.Boxes[0].Ports = mappings(t, "10000-11023:20000-21023", "10000-11023:20000-21023/udp")
	if err := c.Apply(r); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove("tandem0"); err != nil {
		t.Fatal(err)
	}
}

// TestApplyIsAllOrNothing: a rule that the kernel refuses leaves the old ones.
func TestApplyIsAllOrNothing(t *testing.T) {
	testenv.Need(t, testenv.NFT)
	ns := newHost(t)
	c := open(t, ns)
	r := example(t)
	if err := c.Apply(r); err != nil {
		t.Fatal(err)
	}
	bad := r
	bad.Boxes = []Box{{ID: strings.Repeat("x", 300), IPv4: r.Boxes[0].IPv4, Ports: mappings(t, "1:1")}}
	if err := c.Apply(bad); err == nil || !strings.Contains(err.Error(), "table inet tandem0") {
		t.Errorf("Apply of a comment that is too long = %v", err)
	}
	if got := nft(t, ns, "", "list", "ruleset"); got != r.String() {
		t.Errorf("the kernel has\n%s\nwant\n%s", got, r)
	}
}

const foreignRules = `table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		ip saddr 192.0.2.9 accept comment "somebody's"
	}
}
table inet fw {
	chain f1 {
		type filter hook forward priority filter + 10; policy drop;
	}

	chain f2 {
		type filter hook forward priority filter + 20; policy accept;
		ip6 daddr 2001:db8::/32 drop
	}

	chain f3 {
		type filter hook forward priority filter + 30; policy accept;
	}

	chain in {
		type filter hook input priority filter; policy drop;
	}
}
`

func TestAdmit(t *testing.T) {
	testenv.Need(t, testenv.NFT)
	ns := newHost(t)
	nft(t, ns, foreignRules, "-f", "-")
	before := nft(t, ns, "", "list", "ruleset")
	c := open(t, ns)
	ours := Ruleset{Bridge: "tandem1", IPv4: example(t).IPv4} // is no obstacle
	if err := c.Apply(ours); err != nil {
		t.Fatal(err)
	}
	changed, notes, err := c.Admit("tandem0")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"inet fw f1", "ip filter FORWARD"}; !slices.Equal(changed, want) {
		t.Errorf("Admit changed %q, want %q", changed, want)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "inet fw f2") {
		t.Errorf("Admit notes %q, want one on f2", notes)
	}
	for _, chain := range []string{"ip filter FORWARD", "inet fw f1"} {
		got := nft(t, ns, "", append([]string{"list", "chain"}, strings.Fields(chain)...)...)
		for _, rule := range AdmitRules("tandem0") {
			if strings.Count(got, rule.Text+"\n") != 1 {
				t.Errorf("%s lacks %s:\n%s", chain, rule.Text, got)
			}
		}
		if other := strings.Index(got, "192.0.2.9"); other >= 0 && other < strings.Index(got, "tandem0") {
			t.Errorf("the rules are not at the head:\n%s", got)
		}
	}
	if changed, _, err := c.Admit("tandem0"); err != nil || len(changed) != 0 {
		t.Errorf("a second Admit changed %q, %v", changed, err)
	}
	if _, _, err := c.Admit("tandem2"); err != nil {
		t.Fatal(err)
	}
	for _, bridge := range []string{"tandem0", "tandem0", "tandem2"} {
		if err := c.Revoke(bridge); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Remove("tandem1"); err != nil {
		t.Fatal(err)
	}
	if after := nft(t, ns, "", "list", "ruleset"); after != before {
		t.Errorf("left behind:\n%s\nwas\n%s", after, before)
	}
}

func TestComment(t *testing.T) {
	text := userdata.AppendString(userdata.Append(nil, 7, []byte{1, 2}), userdata.TypeComment, "tandem: tandem0")
	if got := comment(text); got != "tandem: tandem0" {
		t.Errorf("comment(%v) = %q", text, got)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 9, 'a'}, {0, 0}, {0, 1, 'a'}, {3, 1, 0}} {
		if got := comment(bad); got != "" {
			t.Errorf("comment(%v) = %q", bad, got)
		}
	}
}

// FuzzComment reads what any program may have put beside a rule.
func FuzzComment(f *testing.F) {
	f.Add([]byte{0, 2, 'a', 0})
	f.Add([]byte{1, 255, 'a', 0, 0, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := comment(data); len(got) > len(data) {
			t.Errorf("comment(%v) = %q", data, got)
		}
	})
}

func TestShiftedRangeHasARuleForEachPort(t *testing.T) {
	b := Box{ID: "a", IPv4: example(t).Boxes[0].IPv4, Ports: []port.Mapping{mappings(t, "0.0.0.0:8000-8002:9000-9002")[0]}}
	for i, line := range b.Lines() {
		want := fmt.Sprintf(`meta nfproto ipv4 tcp dport %d dnat ip to 10.77.0.2:%d comment "a"`, 8000+i, 9000+i)
		if line.Text != want || line.Chain != "published" {
			t.Errorf("rule %d: %+v, want %s", i, line, want)
		}
	}
}
