package cgroup

import (
	"errors"
	"maps"
	"testing"
)

func TestBelow(t *testing.T) {
	one := map[string]string{"cpu": "/c/cpu/box", "cpuacct": "/c/cpu/box", "memory": "/c/memory/box", "name=systemd": "/c/systemd/box"}
	two := map[string]string{"": "/c/box"}
	for _, test := range []struct {
		of, paths map[string]string
		want      map[string]string // nil is an error
		err       error
	}{
		{two, map[string]string{"": "a/b"}, map[string]string{"": "/c/box/a/b"}, nil},
		{two, map[string]string{"": "/a//./b/"}, map[string]string{"": "/c/box/a/b"}, nil},
		{two, map[string]string{"": "a/../b"}, nil, ErrInvalid},
		{two, map[string]string{"": "a\nb"}, nil, ErrInvalid},
		{two, map[string]string{"cpu": "a"}, nil, ErrNotSupported},
		{one, nil, one, nil},
		{one, map[string]string{"": "a"}, map[string]string{
			"cpu": "/c/cpu/box/a", "cpuacct": "/c/cpu/box/a", "memory": "/c/memory/box/a", "name=systemd": "/c/systemd/box/a",
		}, nil},
		{one, map[string]string{"cpuacct": "a", "name=systemd": "b"}, map[string]string{
			"cpu": "/c/cpu/box/a", "cpuacct": "/c/cpu/box/a", "memory": "/c/memory/box", "name=systemd": "/c/systemd/box/b",
		}, nil},
		{one, map[string]string{"cpu": "a", "cpuacct": "a/"}, map[string]string{
			"cpu": "/c/cpu/box/a", "cpuacct": "/c/cpu/box/a", "memory": "/c/memory/box", "name=systemd": "/c/systemd/box",
		}, nil},
		{one, map[string]string{"cpu": "a", "cpuacct": "b"}, nil, ErrInvalid},
		{one, map[string]string{"pids": "a"}, nil, ErrNotSupported},
		{one, map[string]string{"cpu": ".."}, nil, ErrInvalid},
	} {
		g, err := Open(test.of)
		if err != nil {
			t.Fatal(err)
		}
		below, err := g.Below(test.paths)
		switch {
		case test.want == nil && !errors.Is(err, test.err):
			t.Errorf("Below(%v) = %v, %v, want %v", test.paths, below, err, test.err)
		case test.want != nil && (err != nil || !maps.Equal(below.Paths(), test.want)):
			t.Errorf("Below(%v) = %v, %v, want %v", test.paths, below, err, test.want)
		}
	}
}
