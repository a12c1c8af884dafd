package main

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// collect gathers a stream of events, one on a line.
func collect(t *testing.T, stream string) (*collector, []packageDone) {
	t.Helper()
	var done []packageDone
	c := newCollector(func(p packageDone) { done = append(done, p) })
	if err := c.read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	return c, done
}

const hostStream = `{"Action":"start","Package":"tandem/vmm"}
{"Action":"run","Package":"tandem/vmm","Test":"TestLoop"}
{"Action":"output","Package":"tandem/vmm","Test":"TestLoop","Output":"--- PASS: TestLoop (0.00s)\n"}
{"Action":"pass","Package":"tandem/vmm","Test":"TestLoop","Elapsed":0}
{"Action":"run","Package":"tandem/vmm","Test":"TestBoot"}
{"Action":"run","Package":"tandem/vmm","Test":"TestBoot/pvh"}
{"Action":"output","Package":"tandem/vmm","Test":"TestBoot/pvh","Output":"    boot_test.go:9: need kvm-linux: guest kernel mode runs 2.0 million\n"}
{"Action":"skip","Package":"tandem/vmm","Test":"TestBoot/pvh","Elapsed":0}
{"Action":"pass","Package":"tandem/vmm","Test":"TestBoot","Elapsed":0}
{"Action":"output","Package":"tandem/vmm","Test":"TestFlow","Output":"    flow_test.go:9: need fentry: operation not permitted\n"}
{"Action":"skip","Package":"tandem/vmm","Test":"TestFlow","Elapsed":0}
{"Action":"pass","Package":"tandem/vmm","Elapsed":1.5}
{"Action":"output","Package":"tandem/kvm","Test":"TestRun","Output":"    run_test.go:7: got 1, want 2\n"}
{"Action":"fail","Package":"tandem/kvm","Test":"TestRun","Elapsed":0}
{"Action":"fail","Package":"tandem/kvm","Elapsed":0.5}
{"Action":"skip","Package":"tandem/examples/01-hello","Elapsed":0}
`

const labStream = `{"Action":"pass","Package":"tandem/vmm","Test":"TestBoot/pvh","Elapsed":4}
{"Action":"pass","Package":"tandem/vmm","Test":"TestBoot","Elapsed":4}
{"Action":"output","Package":"tandem/vmm","Test":"TestFlow","Output":"    flow_test.go:9: need vhost-net: no such file\n"}
{"Action":"skip","Package":"tandem/vmm","Test":"TestFlow","Elapsed":0}
{"Action":"pass","Package":"tandem/vmm","Elapsed":9}
`

func TestCollect(t *testing.T) {
	c, done := collect(t, hostStream)
	want := map[testID]result{
		{"tandem/vmm", "TestLoop"}:     {outcome: passed},
		{"tandem/vmm", "TestBoot"}:     {outcome: passed},
		{"tandem/vmm", "TestBoot/pvh"}: {outcome: skipped, need: "kvm-linux", reason: "guest kernel mode runs 2.0 million"},
		{"tandem/vmm", "TestFlow"}:     {outcome: skipped, need: "fentry", reason: "operation not permitted"},
		{"tandem/kvm", "TestRun"}:      {outcome: failed, output: "    run_test.go:7: got 1, want 2\n"},
	}
	if !maps.Equal(c.results, want) {
		t.Errorf("results = %+v\nwant %+v", c.results, want)
	}
	if len(done) != 3 || done[0].skipped != 2 || done[0].outcome != passed || done[1].outcome != failed || !done[2].empty {
		t.Errorf("packages done: %+v", done)
	}
}

// TestCollectPackageFailures sees that a package cannot fail unseen where none of its tests did.
func TestCollectPackageFailures(t *testing.T) {
	for _, test := range []struct{ name, stream, output string }{
		{
			"does not build",
			`{"ImportPath":"tandem/a [tandem/a.test]","Action":"build-output","Output":"a.go:1: undefined: b\n"}
{"ImportPath":"tandem/a [tandem/a.test]","Action":"build-fail"}
{"Action":"output","Package":"tandem/a","Output":"FAIL\ttandem/a [build failed]\n"}
{"Action":"fail","Package":"tandem/a","Elapsed":0,"FailedBuild":"tandem/a [tandem/a.test]"}
`, "undefined: b",
		},
		{
			"leaves something behind",
			`{"Action":"pass","Package":"tandem/a","Test":"TestA"}
{"Action":"output","Package":"tandem/a","Output":"testenv: left behind: process 7: qemu\n"}
{"Action":"fail","Package":"tandem/a","Elapsed":0}
`, "left behind: process 7",
		},
		{
			"dies",
			`{"Action":"run","Package":"tandem/a","Test":"TestA"}
{"Action":"output","Package":"tandem/a","Test":"TestA","Output":"fatal error: stack overflow\n"}
{"Action":"fail","Package":"tandem/a","Elapsed":0}
`, "stack overflow",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := collect(t, test.stream)
			r := c.results[testID{Package: "tandem/a"}]
			if r.outcome != failed || !strings.Contains(r.output, test.output) {
				t.Errorf("package's result = %+v, want a failure with %q", r, test.output)
			}
		})
	}
}

func TestCollectRefusesOtherText(t *testing.T) {
	err := newCollector(func(packageDone) {}).read(strings.NewReader("go: no such module\n"))
	if err == nil || !strings.Contains(err.Error(), "no such module") {
		t.Errorf("read = %v, want an error with the text", err)
	}
}

func TestParseSkip(t *testing.T) {
	for _, test := range []struct{ output, need, reason string }{
		{"=== RUN   TestA\n    a_test.go:12: need cgroup2: no mount\n--- SKIP: TestA (0.00s)\n", "cgroup2", "no mount"},
		{"    a_test.go:12: need root: running as uid 1000: no\n", "root", "running as uid 1000: no"},
		{"    a_test.go:12: some need of mine: x\n", "unknown", "skipped without naming a need"},
		{"", "unknown", "skipped without naming a need"},
	} {
		if need, reason := parseSkip(test.output); need != test.need || reason != test.reason {
			t.Errorf("parseSkip(%q) = %q, %q, want %q, %q", test.output, need, reason, test.need, test.reason)
		}
	}
}

func TestForLab(t *testing.T) {
	c, _ := collect(t, hostStream)
	packages := []string{"tandem/boot", "tandem/kvm", "tandem/vmm"}
	got := forLab(c.results, func(pkg string) bool { return pkg == "tandem/kvm" }, packages)
	want := []selection{{"tandem/vmm", []string{"TestBoot", "TestFlow"}}, {pkg: "tandem/kvm"}} // the longest first
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("forLab = %v, want %v", got, want)
	}
	if p := got[1].pattern(); p != "." {
		t.Errorf("pattern of all = %q", p)
	}
	if p := got[0].pattern(); p != "^(TestBoot|TestFlow)$" {
		t.Errorf("pattern = %q", p)
	}
}

func TestMergeAndReport(t *testing.T) {
	host, _ := collect(t, hostStream)
	lab, _ := collect(t, labStream)
	pairs := merge(host.results, lab.results)
	got := count(pairs)
	if want := (totals{passed: 3, failed: 1, skipped: 1}); got != want || got.ok() {
		t.Errorf("count = %+v, ok %v, want %+v, false", got, got.ok(), want)
	}
	var out bytes.Buffer
	printPackage(&out, "host", packageDone{name: "tandem/kvm", outcome: failed, results: host.results})
	report(&out, pairs)
	text := out.String()
	for _, want := range []string{
		"host  FAIL  tandem/kvm (0s)\n\n      tandem/kvm TestRun\n        run_test.go:7: got 1, want 2\n",
		"FAIL on the host: tandem/kvm TestRun\n",
		"kvm-linux", "lab passed", "guest kernel mode runs 2.0 million",
		"nowhere run: tandem/vmm TestFlow (host: need fentry; lab: need vhost-net)",
		"FAIL: skipped both on the host and in the lab: 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; last != "3 passed, 1 failed, 1 skipped" {
		t.Errorf("last line = %q", last)
	}
}

func TestTotalsOK(t *testing.T) {
	for _, test := range []struct {
		t    totals
		want bool
	}{
		{totals{passed: 3}, true},
		{totals{}, false}, // nothing was run
		{totals{passed: 3, skipped: 1}, false},
		{totals{passed: 3, failed: 1}, false},
	} {
		if got := test.t.ok(); got != test.want {
			t.Errorf("%+v.ok() = %v, want %v", test.t, got, test.want)
		}
	}
}

func TestWholePackages(t *testing.T) {
	all := wholePackages(options{where: "both", all: true})
	if !slices.ContainsFunc([]string{"tandem/boot/cpio"}, all) {
		t.Error("with -all, tandem/boot/cpio is not run whole")
	}
	if wholePackages(options{where: "both"})("tandem/internal/kvm") {
		t.Error("tandem/internal/kvm is taken for tandem/kvm")
	}
}

func TestParse(t *testing.T) {
	if _, err := parse([]string{"-on", "moon"}); err == nil {
		t.Error("parse accepts -on moon")
	}
	o, err := parse([]string{"-race=false", "-on=host", "./kvm/..."})
	if err != nil || o.race || o.where != "host" || !slices.Equal(o.patterns, []string{"./kvm/..."}) {
		t.Errorf("parse = %+v, %v", o, err)
	}
}
