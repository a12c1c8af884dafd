package resolv

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func addresses(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestResolvConf(t *testing.T) {
	const host = "# a comment\n; another\n\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch old.example\n" +
		"domain example.org\noptions ndots:2\noptions rotate\nsortlist 130.155.160.0\nnameserver\n  nameserver 192.0.2.99\n"
	for _, test := range []struct {
		name  string
		spec  Spec
		want  string
		notes []string
	}{
		{
			"as the host",
			Spec{HostResolvConf: []byte(host), IPv6: true},
			"nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org\noptions ndots:2 rotate\nsortlist 130.155.160.0\n", nil,
		},
		{
			"without IPv6",
			Spec{HostResolvConf: []byte("nameserver 2001:db8::53\nnameserver 192.0.2.53\n")},
			"nameserver 192.0.2.53\n",
			[]string{"2001:db8::53 is left out: the box has no IPv6"},
		},
		{
			"a local resolver",
			Spec{HostResolvConf: []byte("nameserver 127.0.0.53\noptions edns0\n")},
			"nameserver 8.8.8.8\nnameserver 8.8.4.4\noptions edns0\n",
			[]string{"127.0.0.53 is left out: it is the host's own", "using the public 8.8.8.8, 8.8.4.4; --dns"},
		},
		{
			"a local resolver with IPv6",
			Spec{HostResolvConf: []byte("nameserver ::1\n"), IPv6: true},
			"nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n",
			[]string{"::1 is left out", "using the public"},
		},
		{
			"a local one beside another",
			Spec{HostResolvConf: []byte("nameserver 127.0.0.1\nnameserver 192.0.2.53\n")},
			"nameserver 192.0.2.53\n",
			[]string{"127.0.0.1 is left out"},
		},
		{
			"the host's namespace",
			Spec{HostResolvConf: []byte("nameserver 127.0.0.53\nnameserver fe80::1%eth0\n"), KeepLoopback: true},
			"nameserver 127.0.0.53\nnameserver fe80::1%eth0\n", nil,
		},
		{
			"a link's",
			Spec{HostResolvConf: []byte("nameserver fe80::1%eth0\nnameserver fe80::2\nnameserver 192.0.2.53"), IPv6: true},
			"nameserver 192.0.2.53\n",
			[]string{"fe80::1%eth0 is left out", "fe80::2 is left out"},
		},
		{
			"no address",
			Spec{HostResolvConf: []byte("nameserver dns.example\nnameserver 192.0.2.53\n")},
			"nameserver 192.0.2.53\n",
			[]string{`"dns.example" is left out`},
		},
		{"no file", Spec{}, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n", []string{"using the public"}},
		{"no file on the host's namespace", Spec{KeepLoopback: true}, "", nil},
		{
			"flags",
			Spec{
				HostResolvConf: []byte("nameserver 127.0.0.53\nsearch old.example\noptions rotate\n"),
				Servers:        addresses("127.0.0.1", "2001:db8::1"),
				Search:         []string{"a.example", "b.example."},
				Options:        []string{"ndots:1"},
			},
			"nameserver 127.0.0.1\nnameserver 2001:db8::1\nsearch a.example b.example.\noptions ndots:1\n", nil,
		},
		{
			"no search",
			Spec{HostResolvConf: []byte("nameserver 192.0.2.53\nsearch old.example\n"), Search: []string{"."}},
			"nameserver 192.0.2.53\n", nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spec.Hostname = "web"
			files, err := Make(test.spec)
			if err != nil {
				t.Fatal(err)
			}
			if string(files.ResolvConf) != test.want {
				t.Errorf("resolv.conf:\n%swant:\n%s", files.ResolvConf, test.want)
			}
			if len(files.Notes) != len(test.notes) {
				t.Fatalf("notes %q, want %q", files.Notes, test.notes)
			}
			for i, note := range test.notes {
				if !strings.Contains(files.Notes[i], note) {
					t.Errorf("note %q, want %q", files.Notes[i], note)
				}
			}
		})
	}
}

func TestHosts(t *testing.T) {
	const top = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	for _, test := range []struct {
		name string
		spec Spec
		want string
	}{
		{
			"two addresses",
			Spec{Hostname: "web.example.org", Addresses: addresses("10.77.0.2", "fd12::2")},
			top + "10.77.0.2\tweb.example.org web\nfd12::2\tweb.example.org web\n",
		},
		{"no address", Spec{Hostname: "web"}, top + "127.0.1.1\tweb\n"},
		{
			"extra",
			Spec{
				Hostname: "web", Addresses: addresses("10.77.0.2"), Gateway: netip.MustParseAddr("10.77.0.1"),
				Extra: []string{"db:10.77.0.9", "six:[fd12::9]", "seven:fd12::7", "host.docker.internal:host-gateway"},
			},
			top + "10.77.0.2\tweb\n10.77.0.9\tdb\nfd12::9\tsix\nfd12::7\tseven\n10.77.0.1\thost.docker.internal\n",
		},
		{
			"the host's",
			Spec{Hostname: "web", HostHosts: []byte("127.0.0.1 localhost\n192.0.2.7 me"), Extra: []string{"db:10.77.0.9"}},
			"127.0.0.1 localhost\n192.0.2.7 me\n10.77.0.9\tdb\n",
		},
	} {
		files, err := Make(test.spec)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if string(files.Hosts) != test.want {
			t.Errorf("%s: hosts:\n%swant:\n%s", test.name, files.Hosts, test.want)
		}
		if want := test.spec.Hostname + "\n"; string(files.Hostname) != want {
			t.Errorf("%s: hostname %q, want %q", test.name, files.Hostname, want)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	good := Spec{Hostname: "web"}
	for want, change := range map[string]func(*Spec){
		`hostname ""`:                    func(s *Spec) { s.Hostname = "" },
		`hostname "a b"`:                 func(s *Spec) { s.Hostname = "a b" },
		`hostname "a\nb"`:                func(s *Spec) { s.Hostname = "a\nb" },
		`hostname "a..b"`:                func(s *Spec) { s.Hostname = "a..b" },
		`hostname "-a"`:                  func(s *Spec) { s.Hostname = "-a" },
		"longer than 64":                 func(s *Spec) { s.Hostname = strings.Repeat("a", 63) + ".a" },
		"longer than 63":                 func(s *Spec) { s.Hostname = strings.Repeat("a", 64) },
		"name server fe80::1%1":          func(s *Spec) { s.Servers = addresses("fe80::1%1") },
		"name server invalid IP":         func(s *Spec) { s.Servers = make([]netip.Addr, 1) },
		`search domain "a b"`:            func(s *Spec) { s.Search = []string{"a b"} },
		`search domain ""`:               func(s *Spec) { s.Search = []string{""} },
		`search domain "."`:              func(s *Spec) { s.Search = []string{"a", "."} },
		`option "a\nnameserver 6.6.6.6"`: func(s *Spec) { s.Options = []string{"a\nnameserver 6.6.6.6"} },
		`option ""`:                      func(s *Spec) { s.Options = []string{""} },
		`extra host "a"`:                 func(s *Spec) { s.Extra = []string{"a"} },
		`extra host ":10.0.0.1"`:         func(s *Spec) { s.Extra = []string{":10.0.0.1"} },
		`extra host "a:b"`:               func(s *Spec) { s.Extra = []string{"a:b"} },
		`address "fe80::1%1"`:            func(s *Spec) { s.Extra = []string{"a:fe80::1%1"} },
		"the box has no gateway":         func(s *Spec) { s.Extra = []string{"a:host-gateway"} },
	} {
		s := good
		change(&s)
		if _, err := Make(s); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "resolv: ") {
			t.Errorf("Make = %v, want an error with %s", err, want)
		}
	}
}

func TestReadHost(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub := write("stub", "nameserver 127.0.0.53\n")
	real := write("real", "nameserver 192.0.2.53\n")
	empty := write("empty", "")
	none := filepath.Join(dir, "none")
	for _, test := range []struct{ path, behind, want string }{
		{stub, real, "nameserver 192.0.2.53\n"},
		{stub, stub, "nameserver 127.0.0.53\n"},
		{stub, empty, "nameserver 127.0.0.53\n"},
		{stub, none, "nameserver 127.0.0.53\n"},
		{stub, "", "nameserver 127.0.0.53\n"},
		{real, stub, "nameserver 192.0.2.53\n"},
		{none, real, "nameserver 192.0.2.53\n"},
		{none, none, ""},
	} {
		if got, err := readHost(test.path, test.behind); err != nil || string(got) != test.want {
			t.Errorf("readHost(%s, %s) = %q, %v, want %q", filepath.Base(test.path), filepath.Base(test.behind), got, err, test.want)
		}
	}
	if _, err := readHost(dir, ""); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("readHost of a folder = %v", err)
	}
	big := write("big", strings.Repeat("#\n", maxConf))
	if _, err := readHost(big, ""); err == nil || !strings.Contains(err.Error(), big) {
		t.Errorf("readHost of a large file = %v", err)
	}
}

// FuzzConf holds that whatever the host's file is, the box's has lines of known form alone, is the same when read
// again, and names a server that the box can ask.
func FuzzConf(f *testing.F) {
	f.Add([]byte("# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"), false)
	f.Add([]byte("domain example.org\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n"), true)
	f.Add([]byte("nameserver\t192.0.2.1 \r\nsearch a b\x00c\n;x\nsortlist 1.2.3.4/5\n"), true)
	f.Fuzz(func(t *testing.T, host []byte, six bool) {
		files, err := Make(Spec{HostResolvConf: host, Hostname: "web", IPv6: six})
		if err != nil {
			t.Fatalf("Make(%q) = %v", host, err)
		}
		c := parse(files.ResolvConf)
		if again := c.bytes(); !bytes.Equal(again, files.ResolvConf) {
			t.Errorf("of %q: %q, read again %q", host, files.ResolvConf, again)
		}
		if len(c.servers) == 0 {
			t.Errorf("of %q: no server", host)
		}
		for _, s := range c.servers {
			ip, err := netip.ParseAddr(s)
			if err != nil || ip.IsLoopback() || ip.Zone() != "" {
				t.Errorf("of %q: server %q", host, s)
			}
		}
		if slices.ContainsFunc([]rune(string(files.ResolvConf)), func(r rune) bool { return r != '\n' && unicode.IsControl(r) }) {
			t.Errorf("of %q: %q has control characters", host, files.ResolvConf)
		}
	})
}

// FuzzExtra holds that an extra host adds one line, of an address and a name.
func FuzzExtra(f *testing.F) {
	f.Add("db:10.77.0.9")
	f.Add("six:[fd12::9]")
	f.Add("a:host-gateway")
	f.Fuzz(func(t *testing.T, s string) {
		name, ip, err := parseExtra(s, netip.MustParseAddr("10.77.0.1"))
		if err != nil {
			return
		}
		if strings.ContainsAny(name, " \t\n\x00#") || name == "" || !ip.IsValid() || ip.Zone() != "" {
			t.Errorf("parseExtra(%q) = %q, %v", s, name, ip)
		}
	})
}
