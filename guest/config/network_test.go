package config

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
)

func fullNetwork() *Network {
	return &Network{Links: []Link{{
		MAC: "52:54:00:01:02:03", MTU: 1400,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.2/24"), netip.MustParsePrefix("fd00::2/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd00::1")},
	}}}
}

func TestNetworkRoundTrip(t *testing.T) {
	want := fullNetwork()
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseNetwork(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseNetwork(%s) = %+v, %v", text, got, err)
	}
	if n, err := ReadNetwork(filepath.Join(t.TempDir(), "none")); err != nil || len(n.Links) != 0 {
		t.Errorf("without a file: %+v, %v", n, err)
	}
}

func TestNetworkRefused(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{"links": 1}`, `{"links": []} x`, `{"link": []}`,
		`{"links": [{"mac": "x"}]}`, `{"links": [{}]}`, `{"links": [{"mac": "00:11:22:33:44:55:66:77"}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "mtu": 70000}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "mtu": -1}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "addresses": ["10.0.0.1"]}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "addresses": [""]}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "gateways": [""]}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "gateways": ["10.0.0.1", "10.0.0.2"]}]}`,
		`{"links": [{"mac": "52:54:00:01:02:03", "MAC": "52:54:00:01:02:03"}]}`,
	} {
		if n, err := ParseNetwork([]byte(text)); err == nil {
			t.Errorf("ParseNetwork(%s) = %+v", text, n)
		}
	}
}

func FuzzNetwork(f *testing.F) {
	text, err := fullNetwork().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := ParseNetwork(text)
		if err != nil {
			return
		}
		again, err := n.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if m, err := ParseNetwork(again); err != nil || len(m.Links) != len(n.Links) {
			t.Errorf("%s was read as %+v, and that as %+v, %v", text, n, m, err)
		}
	})
}
