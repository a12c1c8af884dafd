package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// totals counts the merged tests.
type totals struct{ passed, failed, skipped int }

func count(pairs []pair) totals {
	var t totals
	for _, p := range pairs {
		switch p.verdict() {
		case passed:
			t.passed++
		case failed:
			t.failed++
		case skipped:
			t.skipped++
		}
	}
	return t
}

// ok tells whether the run is good: nothing failed, nothing was skipped everywhere, and something was run at all.
func (t totals) ok() bool { return t.failed == 0 && t.skipped == 0 && t.passed > 0 }

// report prints what was skipped where, what failed, whose output was printed when it did, and the totals.
func report(w io.Writer, pairs []pair) {
	reportSkips(w, pairs)
	fmt.Fprintln(w)
	for _, p := range pairs {
		if p.host.outcome == failed {
			fmt.Fprintf(w, "FAIL on the host: %s\n", p.id)
		}
		if p.lab.outcome == failed {
			fmt.Fprintf(w, "FAIL in the lab: %s\n", p.id)
		}
	}
	t := count(pairs)
	if t.skipped > 0 {
		fmt.Fprintf(w, "FAIL: skipped both on the host and in the lab: %d\n", t.skipped)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
}

// skipRow is a line of the table: tests of one package that lacked the same thing in the same place.
type skipRow struct {
	pkg, need, reason string
	place, elsewhere  string
}

// reportSkips prints a table of the skipped tests, those of one package and reason on a line. Tests that ran nowhere
// are named one by one.
func reportSkips(w io.Writer, pairs []pair) {
	rows := make(map[skipRow]int)
	var order []skipRow
	var nowhere []pair
	add := func(r skipRow) {
		if rows[r]++; rows[r] == 1 {
			order = append(order, r)
		}
	}
	for _, p := range pairs {
		if p.verdict() == skipped {
			nowhere = append(nowhere, p)
		}
		if p.host.outcome == skipped {
			add(skipRow{p.id.Package, p.host.need, p.host.reason, "host", elsewhere("lab", p.lab)})
		}
		if p.lab.outcome == skipped && p.host.outcome != skipped {
			add(skipRow{p.id.Package, p.lab.need, p.lab.reason, "lab", elsewhere("host", p.host)})
		}
	}
	if len(order) == 0 {
		return
	}
	fmt.Fprintln(w, "\nSkipped:")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  TESTS\tPACKAGE\tON\tNEED\tELSEWHERE\tREASON")
	for _, r := range order {
		fmt.Fprintf(table, "  %d\t%s\t%s\t%s\t%s\t%s\n", rows[r], r.pkg, r.place, r.need, r.elsewhere, r.reason)
	}
	table.Flush()
	for _, p := range nowhere {
		fmt.Fprintf(w, "  nowhere run: %s (host: %s; lab: %s)\n", p.id, why(p.host), why(p.lab))
	}
}

func elsewhere(place string, r result) string {
	switch r.outcome {
	case passed:
		return place + " passed"
	case failed:
		return place + " failed"
	case skipped:
		return place + " skipped: need " + r.need
	}
	return place + " did not run it"
}

// why tells what kept a test from running in a place.
func why(r result) string {
	if r.outcome == skipped {
		return "need " + r.need
	}
	return "not run"
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// printPackage prints a line for a package that has ended, and what its failed tests had to say, all
// at once: packages in several labs end when they like.
func printPackage(out io.Writer, place string, p packageDone) {
	if p.empty {
		return
	}
	word, more := "ok  ", ""
	if p.outcome == failed {
		word = "FAIL"
	}
	if p.skipped > 0 {
		more = fmt.Sprintf(", %d skipped", p.skipped)
	}
	w := new(strings.Builder)
	fmt.Fprintf(w, "%-4s  %s  %s (%s%s)\n", place, word, p.name, p.took.Round(10*time.Millisecond), more)
	for id, r := range p.results {
		if id.Package == p.name && r.outcome == failed {
			fmt.Fprintf(w, "\n      %s\n%s\n", id, indent(r.output))
		}
	}
	_, _ = io.WriteString(out, w.String())
}
