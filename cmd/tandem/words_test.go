package main

import (
	"strings"
	"testing"
)

func TestShortIDs(t *testing.T) {
	id, typed := strings.Repeat("0123456789abcdef", 4), strings.Repeat("f", 64)
	for text, want := range map[string]string{
		"":                           "",
		id:                           "0123456789ab",
		"container " + id + ": gone": "container 0123456789ab: gone",
		`container "` + id + `" (` + id + ") " + id + "\n" + id: `container "0123456789ab" (0123456789ab) 0123456789ab` + "\n0123456789ab",
		"open /run/boxes/" + id + "/log":                        "open /run/boxes/" + id + "/log",
		"cgroup tandem-1-" + id:                                 "cgroup tandem-1-" + id,
		"sha256:" + id:                                          "sha256:" + id,
		id + "0":                                                id + "0",
		"no such container: " + typed:                           "no such container: " + typed,
	} {
		if got := shortIDs(text, []string{"rm", typed}); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
