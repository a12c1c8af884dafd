package main

import (
	"slices"
	"strings"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/pattern"
)

var hexadecimal = pattern.New(`[0-9a-f]{64,}`)

// shortIDs writes the IDs in a text as people read them, but for those that they have typed. What is a part of a path, of
// a cgroup's name or of a digest is none.
func shortIDs(text string, typed []string) string {
	const idLength = 64
	var short strings.Builder
	done := 0
	for _, at := range hexadecimal.FindAllStringIndex(text, -1) {
		from, to := at[0], at[1]
		alone := to-from == idLength && (from == 0 || strings.IndexByte(" \n\"'(", text[from-1]) >= 0) &&
			(to == len(text) || strings.IndexByte(" \n\"'),;:", text[to]) >= 0)
		if alone && !slices.Contains(typed, text[from:to]) {
			short.WriteString(text[done:from] + box.ShortID(text[from:to]))
			done = to
		}
	}
	return short.String() + text[done:]
}
