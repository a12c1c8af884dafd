package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// pair is one test in both places. A place where it did not run has an empty outcome.
type pair struct {
	id        testID
	host, lab result
}

// verdict is the outcome of both: a failure anywhere counts, and so does a pass.
func (p pair) verdict() outcome {
	switch {
	case p.host.outcome == failed || p.lab.outcome == failed:
		return failed
	case p.host.outcome == passed || p.lab.outcome == passed:
		return passed
	}
	return skipped
}

// merge lays the results of the two places side by side, in the order of their names.
func merge(host, lab map[testID]result) []pair {
	names := make(map[testID]bool)
	for id := range host {
		names[id] = true
	}
	for id := range lab {
		names[id] = true
	}
	pairs := make([]pair, 0, len(names))
	for id := range maps.Keys(names) {
		pairs = append(pairs, pair{id, host[id], lab[id]})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.id.Package, b.id.Package), strings.Compare(a.id.Test, b.id.Test))
	})
	return pairs
}

// selection is what the lab runs of one package: the tests of these names, or all if there are none.
type selection struct {
	pkg   string
	tests []string
}

// pattern is the selection as go test's -run takes it.
func (s selection) pattern() string {
	if len(s.tests) == 0 {
		return "."
	}
	return "^(" + strings.Join(s.tests, "|") + ")$"
}

// forLab picks what the lab has to run: whole packages, and of the others each top-level test that was skipped on the
// host or has a subtest that was.
func forLab(host map[testID]result, whole func(pkg string) bool, packages []string) []selection {
	tests := make(map[string]map[string]bool)
	for id, r := range host {
		if r.outcome == skipped && id.Test != "" {
			name, _, _ := strings.Cut(id.Test, "/")
			if tests[id.Package] == nil {
				tests[id.Package] = make(map[string]bool)
			}
			tests[id.Package][name] = true
		}
	}
	var selected []selection
	for _, pkg := range packages {
		switch {
		case whole(pkg):
			selected = append(selected, selection{pkg: pkg})
		case len(tests[pkg]) > 0:
			selected = append(selected, selection{pkg, slices.Sorted(maps.Keys(tests[pkg]))})
		}
	}
	// What the host cannot do at all is what takes long in the lab: it boots guests. The longest go first, so that no
	// lab is left alone with one at the end.
	slices.SortStableFunc(selected, func(a, b selection) int { return len(tests[b.pkg]) - len(tests[a.pkg]) })
	return selected
}
