package cgroup

import (
	"errors"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	one := Hierarchy{Version: 1, Mount: "/sys/fs/cgroup/memory", Self: "/user.slice/me"}
	two := Hierarchy{Version: 2, Mount: "/sys/fs/cgroup", Self: "/user.slice/me"}
	top := Hierarchy{Version: 2, Mount: "/sys/fs/cgroup", Self: "/"}
	for _, test := range []struct{ path, inOne, inTwo, inTop string }{
		{"/a/b", "/a/b", "/a/b", "/a/b"},
		{"/a//b/./c/", "/a/b/c", "/a/b/c", "/a/b/c"},
		{"a/b", "/user.slice/me/a/b", "/user.slice/a/b", "/a/b"},
		{"", "/user.slice/me/web", "/user.slice/web", "/web"},
		{"/docker:web", "/docker:web", "/docker:web", "/docker:web"},
		{"/a:b:c", "/a:b:c", "/a:b:c", "/a:b:c"},
		{"/x..y/...", "/x..y/...", "/x..y/...", "/x..y/..."},
	} {
		p, err := ParsePath(test.path, "web")
		if err != nil {
			t.Errorf("ParsePath(%q): %v", test.path, err)
			continue
		}
		if a, b, c := p.in(one), p.in(two), p.in(top); a != test.inOne || b != test.inTwo || c != test.inTop {
			t.Errorf("ParsePath(%q) leads to %q, %q, %q, want %q, %q, %q", test.path, a, b, c, test.inOne, test.inTwo, test.inTop)
		}
	}
}

func TestPathRefused(t *testing.T) {
	for _, test := range []struct {
		path, id string
		is       error
		says     string
	}{
		{"..", "web", ErrInvalid, ".."},
		{"/../etc", "web", ErrInvalid, ".."},
		{"/a/../../etc", "web", ErrInvalid, ".."},
		{"a/..", "web", ErrInvalid, ".."},
		{"/", "web", ErrInvalid, "topmost"},
		{"///", "web", ErrInvalid, "topmost"},
		{".", "web", ErrInvalid, "topmost"},
		{"/a\nb", "web", ErrInvalid, "control character"},
		{"/a\x00b", "web", ErrInvalid, "control character"},
		{"/" + strings.Repeat("x", 256), "web", ErrInvalid, "256 bytes"},
		{"system.slice:runc:web", "web", ErrNotSupported, "cgroupfs"},
		{":crio:web", "web", ErrNotSupported, "cgroupfs"},
		{"", "", ErrInvalid, "container id"},
		{"", "..", ErrInvalid, "container id"},
		{"", "a/b", ErrInvalid, "container id"},
		{"", "a b", ErrInvalid, "container id"},
		{"", strings.Repeat("x", 256), ErrInvalid, "container id"},
	} {
		_, err := ParsePath(test.path, test.id)
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("ParsePath(%q, %q) = %v, want %v with %q", test.path, test.id, err, test.is, test.says)
		}
	}
}

// FuzzParsePath holds that no path leads out of a hierarchy.
func FuzzParsePath(f *testing.F) {
	for _, p := range []string{"/a/b", "a", "../x", "/a/../..", "x.slice:y:z", "//", "/.../..a"} {
		f.Add(p, "web")
	}
	f.Fuzz(func(t *testing.T, path, id string) {
		p, err := ParsePath(path, id)
		if err != nil {
			return
		}
		for _, h := range []Hierarchy{{Version: 1, Self: "/own/group"}, {Version: 2, Self: "/own/group"}} {
			in := p.in(h)
			base := ""
			if !strings.HasPrefix(path, "/") {
				base = map[int]string{1: "/own/group", 2: "/own"}[h.Version]
			}
			inside := strings.HasPrefix(in, base+"/") && in != base+"/"
			if !inside || strings.Contains(in+"/", "/../") || strings.Contains(in, "\x00") {
				t.Errorf("ParsePath(%q, %q) leads to %q", path, id, in)
			}
		}
	})
}
