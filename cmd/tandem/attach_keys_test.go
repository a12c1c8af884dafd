package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]string{"ctrl-p,ctrl-q": "\x10\x11", "a,b": "ab", "ctrl-@,ctrl-[,ctrl-_": "\x00\x1b\x1f", "": "", "ctrl-A": "\x01"} {
		if got, err := parseKeys(text); string(got) != want || err != nil {
			t.Errorf("parseKeys(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{"ab", "ctrl-", "ctrl-1", "a,,b", "ctrl-xx", "alt-a"} {
		if got, err := parseKeys(bad); err == nil {
			t.Errorf("parseKeys(%q) = %q, want an error", bad, got)
		}
	}
}

func TestKeyReader(t *testing.T) {
	for _, test := range []struct {
		keys, typed, want string
		left              bool
	}{
		{"pq", "abc", "abc", false},
		{"pq", "abpqcd", "ab", true},
		{"pq", "ppq", "p", true},
		{"pq", "papb", "papb", false},
		{"ppq", "pppq", "p", true},
		{"aab", "aaab", "a", true},
		{"pq", "abp", "ab", false}, // the last one is held back
		{"", "pq", "pq", false},
	} {
		for _, in := range []io.Reader{strings.NewReader(test.typed), iotest.OneByteReader(strings.NewReader(test.typed))} {
			got, err := io.ReadAll(&keyReader{r: in, keys: []byte(test.keys)})
			if string(got) != test.want || errors.Is(err, errDetach) != test.left {
				t.Errorf("%q with %q: %q, %v, want %q, %v", test.typed, test.keys, got, err, test.want, test.left)
			}
		}
	}
}
