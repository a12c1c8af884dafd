package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// judgeTAP reads the output of a test program in the Test Anything Protocol, versions 12 and 13, and tells what is
// wrong. Nothing is wrong with a program that prints nothing: it may tell all by its exit status.
//
// The programs of runtime-tools print a plan of no tests, "1..0", when what they try has worked, and the same plan
// with an "error" in a block of YAML before it when it has not.
func judgeTAP(output string) []string {
	var wrong []string
	results, inYAML := 0, false
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if inYAML && results == 0 && tapError.MatchString(line) {
			wrong = append(wrong, strings.TrimSpace(line))
		}
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "  ") && trimmed == "---":
			inYAML = true
		case strings.HasPrefix(line, "  ") && trimmed == "...":
			inYAML = false
		case inYAML:
		case strings.HasPrefix(line, "TAP version "):
			results = 0 // some print one document behind the other
		case strings.HasPrefix(line, "Bail out!"):
			wrong = append(wrong, line)
		case strings.HasPrefix(line, "not ok"):
			results++
			if !strings.Contains(line, "# TODO") {
				wrong = append(wrong, line)
			}
		case line == "ok" || strings.HasPrefix(line, "ok "):
			results++
		case tapPlan.MatchString(line):
			planned, err := strconv.Atoi(tapPlan.FindStringSubmatch(line)[1])
			if err != nil || planned != 0 && results != 0 && planned != results {
				wrong = append(wrong, fmt.Sprintf("plan %s, and %d results", line, results))
			}
		}
	}
	return wrong
}

var (
	tapPlan  = regexp.MustCompile(`^1\.\.(\d+)(?: .*)?$`)
	tapError = regexp.MustCompile(`^\s*"error": `)
)

func TestJudgeTAP(t *testing.T) {
	for _, test := range []struct {
		name, output string
		want         []string
	}{
		{"silent", "", nil},
		{"passed", "TAP version 13\nok 1 - a\n# note\nok 2 - b\n1..2\n", nil},
		{"plan first", "1..2\nok 1\nok 2\n", nil},
		{"failed", "TAP version 13\nok 1 - a\nnot ok 2 - b\n1..2\n", []string{"not ok 2 - b"}},
		{"not done yet", "not ok 1 - a # TODO later\n1..1\n", nil},
		{"died", "TAP version 13\nok 1 - a\n1..2\n", []string{"plan 1..2, and 1 results"}},
		{"bail", "ok 1 - a\nBail out! no more\n", []string{"Bail out! no more"}},
		{"no tests", "TAP version 13\n1..0\n", nil},
		{
			"no tests and an error", "TAP version 13\n  ---\n  {\n    \"error\": \"hooks\"\n  }\n  ...\n1..0\n",
			[]string{`"error": "hooks"`},
		},
		{"an error that was expected", "ok 1 - a\n  ---\n  {\n    \"error\": \"exit status 1\"\n  }\n  ...\n1..1\n", nil},
		{"output of the program", "ok 1 - a\n  ---\n  {\n    \"stdout\": \"not ok 3\"\n  }\n  ...\n1..1\n", nil},
		{"two documents", "TAP version 13\nok 1 - a\n1..1\nTAP version 13\n1..0\n", nil},
	} {
		if got := judgeTAP(test.output); !slices.Equal(got, test.want) {
			t.Errorf("%s: judgeTAP = %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzJudgeTAP(f *testing.F) {
	f.Add("TAP version 13\nok 1 - a\n  ---\n  {\n    \"error\": \"x\"\n  }\n  ...\nnot ok 2\n1..2\n")
	f.Add("1..99999999999999999999\nBail out!")
	f.Fuzz(func(t *testing.T, output string) {
		if judgeTAP(output+"\nnot ok 1 - x\n") == nil && !strings.Contains(output, "---") {
			t.Error("a failure goes unseen")
		}
	})
}
