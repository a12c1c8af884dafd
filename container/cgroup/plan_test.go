package cgroup

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/plan"
)

// TestPlan prints what would be done on hosts that are not this one, and compares with golden files.
func TestPlan(t *testing.T) {
	const resources = `{
		"memory": {"limit": 67108864}, "cpu": {"shares": 512, "cpus": "0"}, "pids": {"limit": 50},
		"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]
	}`
	for _, test := range []struct {
		name string
		host Host
		path string
	}{
		{"v1", hostV1, "/tandem/web"},
		{"v2", hostV2, "tandem/web"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path, err := ParsePath(test.path, "web")
			if err != nil {
				t.Fatal(err)
			}
			g, err := New(test.host, path, fromJSON(t, resources))
			if err != nil {
				t.Fatal(err)
			}
			p := plan.New("a group")
			p.Phase("make it")
			p.Add(g.Create()...)
			p.Phase("join")
			var pid int
			p.Add(g.Join(&pid)...)
			p.Phase("give it away")
			p.Add(g.Delegate(1000, 1000)...)
			var b strings.Builder
			if err := p.WriteText(&b); err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata", "plan-"+test.name+".txt"), b.String())
		})
	}
}

var golden = flag.Bool("update", false, "write the golden files anew")

// compare holds text to a golden file.
func compare(t *testing.T, path, got string) {
	t.Helper()
	if *golden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it). Got:\n%s", path, got)
	}
}
