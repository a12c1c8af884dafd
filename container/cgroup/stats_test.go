package cgroup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeGroup is a group of plain files: one folder for each hierarchy.
func fakeGroup(t *testing.T, hierarchies []Hierarchy, files map[string]string) *Group {
	t.Helper()
	dir := t.TempDir()
	g := &Group{}
	for _, h := range hierarchies {
		h.Mount = filepath.Join(dir, h.Mount)
		f := folder{h, filepath.Join(h.Mount, "x")}
		if err := os.MkdirAll(f.path, 0o755); err != nil {
			t.Fatal(err)
		}
		g.folders = append(g.folders, f)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

var fakeV1 = []Hierarchy{
	{Version: 1, Mount: "cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}},
	{Version: 1, Mount: "memory", Controllers: []string{"memory"}},
	{Version: 1, Mount: "pids", Controllers: []string{"pids"}},
	{Version: 1, Mount: "blkio", Controllers: []string{"blkio"}},
	{Version: 1, Mount: "hugetlb", Controllers: []string{"hugetlb"}},
	{Version: 1, Mount: "rdma", Controllers: []string{"rdma"}},
	{Version: 1, Mount: "systemd", Name: "systemd"},
}

var filesV1 = map[string]string{
	"cpu,cpuacct/x/cpu.stat":                            "nr_periods 10\nnr_throttled 4\nthrottled_time 4000\nnr_bursts 1\nburst_time 99\n",
	"cpu,cpuacct/x/cpuacct.usage":                       "1000\n",
	"cpu,cpuacct/x/cpuacct.usage_user":                  "600\n",
	"cpu,cpuacct/x/cpuacct.usage_sys":                   "400\n",
	"cpu,cpuacct/x/cpuacct.usage_all":                   "cpu user system\n0 600 300\n1 0 100\n",
	"memory/x/memory.usage_in_bytes":                    "8192\n",
	"memory/x/memory.max_usage_in_bytes":                "16384\n",
	"memory/x/memory.limit_in_bytes":                    "9223372036854771712\n",
	"memory/x/memory.failcnt":                           "3\n",
	"memory/x/memory.memsw.usage_in_bytes":              "12288\n",
	"memory/x/memory.memsw.limit_in_bytes":              "65536\n",
	"memory/x/memory.kmem.usage_in_bytes":               "4096\n",
	"memory/x/memory.kmem.tcp.usage_in_bytes":           "512\n",
	"memory/x/memory.oom_control":                       "oom_kill_disable 1\nunder_oom 1\noom_kill 2\n",
	"memory/x/memory.stat":                              "cache 1\ntotal_cache 4096\ntotal_rss 2048\ntotal_swap 4096\n",
	"pids/x/pids.current":                               "7\n",
	"pids/x/pids.max":                                   "max\n",
	"pids/x/pids.events":                                "max 5\n",
	"blkio/x/blkio.bfq.io_service_bytes_recursive":      "Total 0\n",
	"blkio/x/blkio.throttle.io_service_bytes_recursive": someBlk,
	"blkio/x/blkio.throttle.io_serviced_recursive":      "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
	"hugetlb/x/hugetlb.2MB.limit_in_bytes":              "9223372036852678656\n",
	"hugetlb/x/hugetlb.2MB.usage_in_bytes":              "2097152\n",
	"hugetlb/x/hugetlb.2MB.max_usage_in_bytes":          "4194304\n",
	"hugetlb/x/hugetlb.2MB.failcnt":                     "6\n",
	"rdma/x/rdma.current":                               "mlx5_0 hca_handle=2 hca_object=20\n",
}

var filesV2 = map[string]string{
	"cgroup/x/cpu.max":                  "max 100000\n",
	"cgroup/x/cpu.stat":                 "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_periods 3\nnr_throttled 2\nthrottled_usec 1\n",
	"cgroup/x/cpu.pressure":             somePSI,
	"cgroup/x/cpuset.cpus.effective":    "0-2\n",
	"cgroup/x/cpuset.mems.effective":    "0\n",
	"cgroup/x/memory.current":           "8192\n",
	"cgroup/x/memory.max":               "65536\n",
	"cgroup/x/memory.peak":              "16384\n",
	"cgroup/x/memory.swap.current":      "4096\n",
	"cgroup/x/memory.swap.max":          "8192\n",
	"cgroup/x/memory.events":            "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 0\n",
	"cgroup/x/memory.stat":              "anon 2048\nfile 4096\nkernel_stack 16\npagetables 8\nslab 100\nsock 7\n",
	"cgroup/x/memory.pressure":          somePSI,
	"cgroup/x/pids.current":             "7\n",
	"cgroup/x/pids.max":                 "50\n",
	"cgroup/x/pids.events":              "max 5\n",
	"cgroup/x/io.stat":                  someIO,
	"cgroup/x/hugetlb.2MB.max":          "max\n",
	"cgroup/x/hugetlb.2MB.current":      "0\n",
	"cgroup/x/hugetlb.2MB.events":       "max 9\n",
	"cgroup/x/hugetlb.2MB.rsvd.max":     "2097152\n",
	"cgroup/x/hugetlb.2MB.rsvd.current": "1048576\n",
	"cgroup/x/rdma.current":             "mlx5_0 hca_handle=2 hca_object=20\n",
}

// TestStatsFiles reads files of known contents, and compares with golden files what comes of them, in both shapes.
func TestStatsFiles(t *testing.T) {
	for _, test := range []struct {
		name        string
		hierarchies []Hierarchy
		files       map[string]string
	}{
		{"v1", fakeV1, filesV1},
		{"v2", []Hierarchy{{Version: 2, Mount: "cgroup"}}, filesV2},
	} {
		s, err := fakeGroup(t, test.hierarchies, test.files).Stats()
		if err != nil {
			t.Fatal(err)
		}
		s.Time = time.Time{}
		for name, value := range map[string]any{"stats": s, "event": s.Event()} {
			text, err := json.MarshalIndent(value, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata", name+"-"+test.name+".json"), string(text)+"\n")
		}
	}
}

// TestStatsMalformed wants the file named that makes no sense.
func TestStatsMalformed(t *testing.T) {
	for name, file := range map[string]string{"memory/x/memory.stat": "cache\n", "cpu,cpuacct/x/cpuacct.usage": "-\n"} {
		g := fakeGroup(t, fakeV1, map[string]string{name: file})
		if _, err := g.Stats(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Stats() with %q in %s: %v", file, name, err)
		}
	}
}

// TestOOMKillsBelow sums up what version 1 counts in each group apart.
func TestOOMKillsBelow(t *testing.T) {
	g := fakeGroup(t, fakeV1, filesV1)
	f, _ := g.with("memory")
	if err := os.MkdirAll(f.file("below/deeper"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{"below", "below/deeper"} {
		if err := os.WriteFile(f.file(below+"/"+oomControl), []byte("oom_kill 10\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := g.OOMKills(); n != 22 || err != nil {
		t.Errorf("OOMKills() = %d, %v, want 22", n, err)
	}
	none := &Group{folders: []folder{{fakeV1[2], "/nonesuch"}}}
	if _, err := none.OOMKills(); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "memory") {
		t.Errorf("OOMKills() without a controller = %v", err)
	}
	gone := &Group{folders: []folder{{fakeV1[1], "/nonesuch"}}}
	if _, err := gone.OOMKills(); !errors.Is(err, ErrGone) {
		t.Errorf("OOMKills() of a group that is gone = %v, want ErrGone", err)
	}
}
