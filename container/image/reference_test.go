package image

import (
	"errors"
	"strings"
	"testing"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	for _, test := range []struct{ in, full, familiar string }{
		{"alpine", "docker.io/library/alpine:latest", "alpine:latest"},
		{"alpine:3.22", "docker.io/library/alpine:3.22", "alpine:3.22"},
		{"grafana/grafana", "docker.io/grafana/grafana:latest", "grafana/grafana:latest"},
		{"docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"},
		{"index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"},
		{"docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
		{"docker.io/localhost/a", "docker.io/localhost/a:latest", "docker.io/localhost/a:latest"},
		{"localhost/a", "localhost/a:latest", "localhost/a:latest"},
		{"localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"},
		{"127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"},
		{"[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b"},
		{"quay.io/x/y__z.1-2:T_1", "quay.io/x/y__z.1-2:T_1", "quay.io/x/y__z.1-2:T_1"},
		{"My.Host/a", "My.Host/a:latest", "My.Host/a:latest"},
		{"alpine@" + someDigest, "docker.io/library/alpine@" + someDigest, "alpine@" + someDigest},
		{"ghcr.io/a/b:c@" + someDigest, "ghcr.io/a/b:c@" + someDigest, "ghcr.io/a/b:c@" + someDigest},
	} {
		r, err := ParseReference(test.in)
		if err != nil || r.String() != test.full || r.Familiar() != test.familiar {
			t.Errorf("%s is %s, in short %s, %v; want %s, %s", test.in, r, r.Familiar(), err, test.full, test.familiar)
		}
		for _, again := range []string{test.full, test.familiar} {
			if same, err := ParseReference(again); err != nil || same != r {
				t.Errorf("%s is %+v, %v; want %+v", again, same, err, r)
			}
		}
		if _, err := r.remote(false); err != nil {
			t.Errorf("%s for the client: %v", test.in, err)
		}
	}
	for _, bad := range []string{
		"", " ", ":", "a:", "@", "a@", "/a", "a/", "a//b", "a/../b", "./a", "..", "A", "a/B", "a:b:c", "a b", "a\n", "a:\x00", "-a", "a-", "a._b",
		"https://alpine", "docker.io/", "localhost/", "a@sha256:12", "a@" + someDigest + "0", "a@md5:00", "a:" + strings.Repeat("x", 129),
		strings.Repeat("a", 256), strings.Repeat("a", 100) + ".b:99999999/c", "a.b:/c", "..:5000/a", "ex ample.org/a", "é/a",
		"[::1/a", "a:.b", "a:-b", "MyHost/a", someDigest, someDigest[7:],
	} {
		if r, err := ParseReference(bad); !errors.Is(err, ErrReference) {
			t.Errorf("%q is %+v, %v", bad, r, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "localhost:5000/a/b:c", "[::1]:5000/a@" + someDigest, "a/../b", "https://a", "docker.io/library/a/b", "docker.io/localhost/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		for _, again := range []string{r.String(), r.Familiar()} {
			if same, err := ParseReference(again); err != nil || same != r {
				t.Errorf("%q is %+v, which is %q, which is %+v, %v", s, r, again, same, err)
			}
		}
		if strings.Contains(r.String(), "..") || strings.ContainsAny(r.String(), " \x00\n\\") {
			t.Errorf("%q is %q", s, r)
		}
		if _, err := r.remote(false); err != nil {
			t.Errorf("%q is %q, and not for the client: %v", s, r, err)
		}
	})
}
