package main

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/cmd/tandem/internal/box"
	"tandem/network"
)

func TestChooseBoxes(t *testing.T) {
	keeper := box.Keeper{PID: 1}
	list := []*box.Record{ // the newest first
		{ID: "cc", Name: "made", Options: box.Options{Image: "alpine", Network: &network.Mode{Kind: network.ModeNone}}},
		{ID: "ba", Name: "web-old", Exit: &box.Exit{Status: 3}, Keeper: keeper, Options: box.Options{
			Image: "nginx:1", Labels: map[string]string{"a": "b"}, Network: &network.Mode{Kind: network.ModeBridge, Value: "br9"},
		}},
		{ID: "ab", Name: "web", Exit: &box.Exit{}, Keeper: keeper, Options: box.Options{
			Image: "docker.io/library/alpine:latest", Mounts: []specs.Mount{{Source: "/host", Destination: "/www"}},
		}, Health: &box.Health{Status: box.Healthy}},
	}
	for _, test := range []struct {
		flags psFlags
		want  string
	}{
		{psFlags{last: -1}, ""},
		{psFlags{last: -1, all: true}, "made web-old web "},
		{psFlags{last: 2}, "made web-old "},
		{psFlags{last: 0}, ""},
		{psFlags{last: 9}, "made web-old web "},
		{psFlags{last: -1, latest: true}, "made "},
		{psFlags{last: -1, latest: true, filters: []string{"name=web"}}, "web-old "},
		{psFlags{last: -1, filters: []string{"name=web"}}, ""},
		{psFlags{last: -1, all: true, filters: []string{"name=web"}}, "web-old web "},
		{psFlags{last: -1, filters: []string{"status=exited"}}, "web-old web "},
		{psFlags{last: -1, filters: []string{"status=created", "status=exited"}}, "made web-old web "},
		{psFlags{last: -1, filters: []string{"exited=3"}}, "web-old "},
		{psFlags{last: -1, all: true, filters: []string{"id=b"}}, "web-old "},
		{psFlags{last: -1, all: true, filters: []string{"label=a"}}, "web-old "},
		{psFlags{last: -1, all: true, filters: []string{"label=a=c"}}, ""},
		{psFlags{last: -1, all: true, filters: []string{"ancestor=alpine"}}, "made web "},
		{psFlags{last: -1, all: true, filters: []string{"ancestor=nginx"}}, ""},
		{psFlags{last: -1, all: true, filters: []string{"health=healthy"}}, "web "},
		{psFlags{last: -1, all: true, filters: []string{"health=none", "name=web"}}, "web-old "},
		{psFlags{last: -1, all: true, filters: []string{"volume=/www"}}, "web "},
		{psFlags{last: -1, all: true, filters: []string{"network=none"}}, "made "},
		{psFlags{last: -1, all: true, filters: []string{"network=br9"}}, "web-old "},
		{psFlags{last: -1, all: true, filters: []string{"network=bridge=br9", "network=none"}}, "made web-old "},
	} {
		shown, err := test.flags.choose(list)
		got := ""
		for _, l := range shown {
			got += l.Name + " "
		}
		if got != test.want || err != nil {
			t.Errorf("%+v: %q, %v, want %q", test.flags, got, err, test.want)
		}
	}
	for _, bad := range []string{"name", "name=", "=x", "status=gone", "exited=x", "health=ill", "color=red"} {
		if _, err := (psFlags{last: -1, filters: []string{bad}}).choose(nil); err == nil {
			t.Errorf("--filter %s: no error", bad)
		}
	}
}
