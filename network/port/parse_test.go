package port

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
)

var goodMappings = []struct {
	text string
	want Mapping
}{
	{"80", Mapping{BoxPort: 80, Count: 1, Protocol: TCP}},
	{":80", Mapping{BoxPort: 80, Count: 1, Protocol: TCP}}, // an empty port of the host is any that is free
	{"80/udp", Mapping{BoxPort: 80, Count: 1, Protocol: UDP}},
	{"8080:80", Mapping{HostPort: 8080, BoxPort: 80, Count: 1, Protocol: TCP}},
	{"8080:80/TCP", Mapping{HostPort: 8080, BoxPort: 80, Count: 1, Protocol: TCP}},
	{
		"127.0.0.1:8080:80/udp",
		Mapping{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 8080, BoxPort: 80, Count: 1, Protocol: UDP},
	},
	{"127.0.0.1::80", Mapping{HostIP: netip.MustParseAddr("127.0.0.1"), BoxPort: 80, Count: 1, Protocol: TCP}},
	{"[::1]:8080:80", Mapping{HostIP: netip.MustParseAddr("::1"), HostPort: 8080, BoxPort: 80, Count: 1, Protocol: TCP}},
	{"0:80", Mapping{BoxPort: 80, Count: 1, Protocol: TCP}},
	{"127.0.0.1:0:80", Mapping{HostIP: netip.MustParseAddr("127.0.0.1"), BoxPort: 80, Count: 1, Protocol: TCP}},
	{"[::]::80", Mapping{HostIP: netip.MustParseAddr("::"), BoxPort: 80, Count: 1, Protocol: TCP}},
	{"0.0.0.0:53:53/udp", Mapping{HostIP: netip.IPv4Unspecified(), HostPort: 53, BoxPort: 53, Count: 1, Protocol: UDP}},
	{"8000-8009:9000-9009", Mapping{HostPort: 8000, BoxPort: 9000, Count: 10, Protocol: TCP}},
	{"8000-8010:80", Mapping{HostPort: 8000, Choices: 11, BoxPort: 80, Count: 1, Protocol: TCP}},
	{"8080-8080:80-80", Mapping{HostPort: 8080, BoxPort: 80, Count: 1, Protocol: TCP}},
	{"1-65535:1-65535", Mapping{HostPort: 1, BoxPort: 1, Count: 65535, Protocol: TCP}},
	{"1-65535:80", Mapping{HostPort: 1, Choices: 65535, BoxPort: 80, Count: 1, Protocol: TCP}},
}

func TestParse(t *testing.T) {
	for _, test := range goodMappings {
		got, err := Parse(test.text)
		if err != nil || got != test.want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", test.text, got, err, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "want [HOST-IP:]",
		":":                          "want [HOST-IP:]",
		"8080:":                      "want [HOST-IP:]",
		"a":                          `port "a"`,
		"8080:a":                     `port "a"`,
		"0-1:80":                     "port 0",
		"0:80-82":                    "any free port of the host, for a range",
		"80:0":                       "port 0",
		"65536:80":                   "65536",
		"80:99999999999999999999":    "99999999999999999999",
		"-80":                        "want [HOST-IP:]",
		"+80":                        `"+80"`,
		"080:80":                     `"080"`,
		" 80":                        `" 80"`,
		"80/sctp":                    `protocol "sctp"`,
		"80/":                        `protocol ""`,
		"80/tcp/udp":                 `protocol "tcp/udp"`,
		"9-8:80":                     "ends before it begins",
		"8000-8001:80-82":            "2 ports of the host for 3 of the box",
		"8000:80-82":                 "1 ports of the host for 3 of the box",
		"1000-2999:3000-4999":        "change their number",
		"80-82":                      "any free port of the host, for a range",
		"127.0.0.1:80":               `port "127.0.0.1"`,
		"localhost:8080:80":          `host address "localhost"`,
		"::1:8080:80":                "in brackets",
		"[::1]8080:80":               "want [HOST-IP:]",
		"[::1]:80":                   "want [HOST-IP:]",
		"[127.0.0.1]:8080:80":        "brackets are for IPv6",
		"[fe80::1%eth0]:8080:80":     "zone",
		"[::ffff:127.0.0.1]:8080:80": "write it as IPv4",
		"224.0.0.1:8080:80":          "multicast",
		"[::1]:8080:80:90":           "port",
		"1:2:3:4":                    "in brackets",
	} {
		m, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %+v, %v, want an error with %q", text, m, err, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"8080:80", "8080:81", true},
		{"8080:80", "8081:80", false},
		{"8080:80", "8080:80/udp", false},
		{"8000-8010:9000-9010", "8010-8020:9000-9010", true},
		{"8000-8010:9000-9010", "8011-8020:9000-9009", false},
		{"127.0.0.1:8080:80", "8080:80", true},
		{"127.0.0.1:8080:80", "127.0.0.2:8080:80", false},
		{"127.0.0.1:8080:80", "0.0.0.0:8080:80", true},
		{"127.0.0.1:8080:80", "[::]:8080:80", false},
		{"0.0.0.0:8080:80", "[::]:8080:80", false},
		{"[::1]:8080:80", "8080:80", true},
	} {
		a, err := Parse(test.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse(test.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.Overlaps(b) != test.want || b.Overlaps(a) != test.want {
			t.Errorf("%s overlaps %s: %v and %v, want %v", test.a, test.b, a.Overlaps(b), b.Overlaps(a), test.want)
		}
	}
}

func TestMappingIsSavedAsJSON(t *testing.T) {
	for _, test := range goodMappings {
		text, err := json.Marshal(test.want)
		if err != nil {
			t.Fatal(err)
		}
		var got Mapping
		if err := json.Unmarshal(text, &got); err != nil || got != test.want {
			t.Errorf("%s read back = %+v, %v, want %+v", text, got, err, test.want)
		}
	}
}

// FuzzParse holds that what is accepted can be written and read again, and stays within 16 bits.
func FuzzParse(f *testing.F) {
	for _, test := range goodMappings {
		f.Add(test.text)
	}
	f.Add("[fe80::1%eth0]:8080:80")
	f.Add("1:2:3:4")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse(s)
		if err != nil {
			if m != (Mapping{}) || !strings.HasPrefix(err.Error(), "port: ") {
				t.Errorf("Parse(%q) = %+v, %v", s, m, err)
			}
			return
		}
		again, err := Parse(m.String())
		if err != nil || again != m {
			t.Errorf("Parse(%q) = %+v, written %q, read %+v, %v", s, m, m.String(), again, err)
		}
		if !m.Settled() {
			return
		}
		if m.Last() < m.HostPort || !m.Overlaps(m) {
			t.Errorf("Parse(%q) = %+v, whose last port is %d", s, m, m.Last())
		}
	})
}
