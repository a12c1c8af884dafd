package card

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tandem/network"
)

func TestParse(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text   string
		want   Card
		source string
	}{
		{"bridge", Card{Bridge: network.DefaultBridge, Path: Eventfd}, "bridge " + network.DefaultBridge},
		{"bridge=tandem7", Card{Bridge: "tandem7", Path: Eventfd}, "bridge tandem7"},
		{"bridge,datapath=exit", Card{Bridge: network.DefaultBridge, Path: Exit}, "bridge " + network.DefaultBridge},
		{"bridge,datapath=vhost-user", Card{Bridge: network.DefaultBridge, Path: VhostUser}, "bridge " + network.DefaultBridge},
		{"tap=tap0,datapath=vhost", Card{Tap: "tap0", Path: Vhost}, "tap tap0"},
		{
			"tap=tap0,queues=4,mtu=9000,mac=52-54-00-AB-CD-EF",
			Card{Tap: "tap0", Path: Eventfd, Queues: 4, MTU: 9000, MAC: "52:54:00:ab:cd:ef"},
			"tap tap0",
		},
		{
			"tap=tap0,address=192.0.2.2/24,address=2001:db8::2/64,gateway=192.0.2.1,gateway=2001:db8::1",
			Card{
				Tap: "tap0", Path: Eventfd,
				Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")},
				Gateways:  []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			},
			"tap tap0",
		},
		{"datapath=vhost-user:/s.sock", Card{Path: VhostUser, Socket: "/s.sock"}, "/s.sock"},
		{
			"bridge,datapath=vhost-user:s.sock",
			Card{Bridge: network.DefaultBridge, Path: VhostUser, Socket: filepath.Join(here, "s.sock")},
			"bridge " + network.DefaultBridge,
		},
	} {
		got, wanted, err := Parse(test.text)
		if err != nil || !wanted || !reflect.DeepEqual(got, test.want) {
			t.Errorf("Parse(%q) = %+v, %v, %v, want %+v", test.text, got, wanted, err, test.want)
		}
		if got.String() != test.source {
			t.Errorf("%q ends at %q, want %q", test.text, got.String(), test.source)
		}
	}
	if _, wanted, err := Parse("none"); wanted || err != nil {
		t.Errorf(`Parse("none") = %v, %v`, wanted, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "none of none, bridge"},
		{"wire", "none of none, bridge"},
		{"tap", "none of none, bridge"},
		{"tap=", "none of none, bridge"},
		{"bridge=", "none of none, bridge"},
		{"bridge=../x", "want tandem"},
		{"none,queues=2", "none of none, bridge"},
		{"bridge,", "none of mac=MAC"},
		{"bridge,speed=10", "speed=10: none of mac=MAC"},
		{"bridge,mac=1:2:3", "mac=1:2:3: want the address of one Ethernet card"},
		{"bridge,mac=01:00:5e:00:00:01", "want the address of one Ethernet card"},
		{"bridge,mac=02:00:5e:10:00:00:00:01", "want the address of one Ethernet card"},
		{"bridge,queues=0", "want 1 to 256 pairs"},
		{"bridge,queues=257", "want 1 to 256 pairs"},
		{"bridge,queues=two", "want 1 to 256 pairs"},
		{"bridge,mtu=67", "want 68 to 65535"},
		{"bridge,mtu=65536", "want 68 to 65535"},
		{"bridge,mtu=", "want 68 to 65535"},
		{"bridge,busypoll=50", "datapath=vhost"},
		{"bridge,datapath=vhost,busypoll=-1", "want 0 to 1000000"},
		{"bridge,datapath=", "want one of exit, eventfd, vhost, vhost-user[:SOCKET]"},
		{"bridge,datapath=vhost:/s.sock", "want one of"},
		{"datapath=vhost-user", "needs the SOCKET"},
		{"datapath=vhost", "needs a cable: --net bridge,datapath=vhost"},
		{"datapath=exit", "needs a cable"},
		{"tap=t,address=192.0.2.2", "want an address and a prefix length"},
		{"tap=t,gateway=nowhere", "nowhere"},
		{"bridge,address=192.0.2.2/24", "they are leased"},
		{"bridge,gateway=192.0.2.1", "they are leased"},
	} {
		if c, _, err := Parse(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Parse(%q) = %+v, %v, want an error with %q", test.text, c, err, test.want)
		}
	}
}

// FuzzParse looks for words that make a card which no check let through.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"none", "bridge,datapath=exit,queues=2,mtu=9000", "tap=t,mac=52:54:00:12:34:56,address=192.0.2.2/24", "datapath=vhost-user:s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, wanted, err := Parse(text)
		if err != nil || !wanted {
			return
		}
		if c.pairs() < 1 || c.pairs() > maxQueues || c.MTU < 0 || c.MTU > 65535 || c.Bridge == "" && c.Tap == "" && c.Socket == "" {
			t.Errorf("Parse(%q) = %+v", text, c)
		}
	})
}
