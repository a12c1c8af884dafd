package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"tandem/internal/testenv"
)

// event is one line of go test -json: see go doc test2json, and go help buildjson for the build's.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// testID names a test, or a package where Test is empty.
type testID struct{ Package, Test string }

func (id testID) String() string {
	if id.Test == "" {
		return id.Package
	}
	return id.Package + " " + id.Test
}

// outcome is how a test ended in one place.
type outcome string

const (
	passed  outcome = "pass"
	failed  outcome = "fail"
	skipped outcome = "skip"
)

// result is an outcome with what there is to say about it.
type result struct {
	outcome outcome
	need    string // what a skipped test needed, such as "kvm-linux"
	reason  string // why that is missing
	output  string // what a failed test printed
}

// packageDone is what a run reports as soon as a package ends.
type packageDone struct {
	name    string
	outcome outcome
	took    time.Duration
	skipped int
	empty   bool // it has no tests
	results map[testID]result
}

// collector gathers the results of one place from streams of events.
type collector struct {
	results map[testID]result
	output  map[testID]*strings.Builder
	skips   map[string]int // by package
	done    func(packageDone)
}

func newCollector(done func(packageDone)) *collector {
	return &collector{
		results: make(map[testID]result), output: make(map[testID]*strings.Builder), skips: make(map[string]int), done: done,
	}
}

// read takes a stream to its end. A line that is no event is an error of go test's own.
func (c *collector) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				return fmt.Errorf("go test: %s", strings.TrimSpace(string(line)))
			}
			c.add(e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *collector) add(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "output":
		c.printed(id).WriteString(e.Output)
	case "build-output":
		c.printed(testID{Package: e.ImportPath}).WriteString(e.Output)
	case "pass", "fail", "skip":
		c.end(id, outcome(e.Action), e)
	}
}

func (c *collector) printed(id testID) *strings.Builder {
	if c.output[id] == nil {
		c.output[id] = new(strings.Builder)
	}
	return c.output[id]
}

func (c *collector) end(id testID, o outcome, e event) {
	text := c.printed(id).String()
	delete(c.output, id)
	if id.Test == "" {
		c.endPackage(id, o, e, text)
		return
	}
	r := result{outcome: o}
	switch o {
	case failed:
		r.output = text
	case skipped:
		r.need, r.reason = parseSkip(text)
		c.skips[id.Package]++
	}
	c.results[id] = r
}

// endPackage keeps a package's own result only if it failed and none of its tests did: it did not build, its TestMain
// found leftovers, or it died. Otherwise its tests say it all.
func (c *collector) endPackage(id testID, o outcome, e event, text string) {
	if o == failed && !c.hasFailedTest(id.Package) {
		if e.FailedBuild != "" {
			text = c.printed(testID{Package: e.FailedBuild}).String() + text
		}
		c.results[id] = result{outcome: failed, output: c.unfinished(id.Package) + text}
	}
	c.done(packageDone{
		name: id.Package, outcome: o, took: time.Duration(e.Elapsed * float64(time.Second)),
		skipped: c.skips[id.Package], empty: o == skipped, results: c.results,
	})
}

// failed tells whether anything failed.
func (c *collector) failed() bool {
	for _, r := range c.results {
		if r.outcome == failed {
			return true
		}
	}
	return false
}

func (c *collector) hasFailedTest(pkg string) bool {
	for id, r := range c.results {
		if id.Package == pkg && r.outcome == failed {
			return true
		}
	}
	return false
}

// unfinished is the output of the tests that a package's death cut short.
func (c *collector) unfinished(pkg string) string {
	var text strings.Builder
	for id, printed := range c.output {
		if id.Package == pkg && id.Test != "" {
			text.WriteString(printed.String())
			delete(c.output, id)
		}
	}
	return text.String()
}

// parseSkip finds the line of testenv.Need in what a skipped test printed:
//
//	boot_test.go:12: need kvm-linux: guest kernel mode runs 2.1 million instructions a second
func parseSkip(output string) (need, reason string) {
	for line := range strings.Lines(output) {
		_, rest, ok := strings.Cut(line, ": "+testenv.SkipPrefix)
		if !ok {
			continue
		}
		if need, reason, ok = strings.Cut(strings.TrimSpace(rest), ": "); ok && !strings.Contains(need, " ") {
			return need, reason
		}
	}
	return "unknown", "skipped without naming a need"
}
