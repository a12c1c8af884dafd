package port

import (
	"slices"
	"testing"
)

func TestParseExposed(t *testing.T) {
	for text, want := range map[string][]Exposed{
		"80": {{80, TCP}}, "53/UDP": {{53, UDP}}, "8000-8002/tcp": {{8000, TCP}, {8001, TCP}, {8002, TCP}}, "65535": {{65535, TCP}},
	} {
		got, err := ParseExposed(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseExposed(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "0", "65536", "80/", "80/sctp", "90-80", "-", "a", "80:80", "1-65536", "127.0.0.1:80"} {
		if got, err := ParseExposed(bad); err == nil {
			t.Errorf("ParseExposed(%q) = %v, want an error", bad, got)
		}
	}
	if all, err := ParseExposed("1-65535/udp"); err != nil || len(all) != 65535 {
		t.Errorf("all ports are %d, %v", len(all), err)
	}
}

func TestExposedIn(t *testing.T) {
	m := mustParse(t, "8080-8081:80-81")
	for e, want := range map[Exposed]bool{{80, TCP}: true, {81, TCP}: true, {82, TCP}: false, {79, TCP}: false, {80, UDP}: false} {
		if got := e.In(m); got != want {
			t.Errorf("%v in %v = %v, want %v", e, m, got, want)
		}
	}
	if e := (Exposed{53, UDP}); !e.In(e.Publish()) || e.Publish().Check() != nil || e.Publish() != mustParse(t, "53/udp") {
		t.Errorf("%v is published as %v", e, e.Publish())
	}
}

// FuzzParseExposed reads the keys of an image's ExposedPorts.
func FuzzParseExposed(f *testing.F) {
	for _, s := range []string{"80/tcp", "8000-8009/udp", "53", "1-65535", "80/sctp", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseExposed(s)
		if err == nil && len(list) == 0 {
			t.Errorf("%q is no port at all", s)
		}
		for _, e := range list {
			again, err := ParseExposed(e.String())
			if err != nil || len(again) != 1 || again[0] != e {
				t.Fatalf("%v is %v, %v after its text", e, again, err)
			}
		}
	})
}
