package cgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tandem/internal/plan"
	"tandem/internal/testenv"
)

// TestUpdateMemory moves the limits of memory, and of memory and swap, past each other in both directions.
func TestUpdateMemory(t *testing.T) {
	const mib = 1 << 20
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"memory":{"limit":33554432,"swap":67108864}}`)
		for _, test := range []struct {
			resources   string
			limit, both uint64
		}{
			{`{"memory":{"limit":134217728,"swap":268435456}}`, 128 * mib, 256 * mib},
			{`{"memory":{"limit":16777216,"swap":16777216}}`, 16 * mib, 16 * mib},
			{`{"memory":{"swap":33554432}}`, 16 * mib, 32 * mib},
			{`{"memory":{"limit":-1}}`, Unlimited, Unlimited},
			{`{"memory":{"limit":8388608,"swap":-1}}`, 8 * mib, Unlimited},
			{`{"memory":{"limit":33554432,"swap":67108864,"reservation":4194304}}`, 32 * mib, 64 * mib},
		} {
			update(t, g, test.resources)
			s, err := g.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if s.Memory.Limit != test.limit || s.Memory.MemorySwap.Limit != test.both {
				t.Errorf("after %s: limits %d and %d, want %d and %d", test.resources,
					s.Memory.Limit, s.Memory.MemorySwap.Limit, test.limit, test.both)
			}
		}
		steps, err := g.Update(fromJSON(t, `{"memory":{"swap":1048576}}`))
		if err == nil {
			_, err = try(steps)
		}
		if err == nil || !strings.Contains(err.Error(), "linux.resources.memory.swap") {
			t.Errorf("memory and swap below memory: %v", err)
		}
	})
}

// TestUpdateBelowUsage wants a limit that would kill refused: by version 1 itself, by checkBeforeUpdate in version 2.
func TestUpdateBelowUsage(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"memory":{"limit":268435456,"swap":268435456}}`)
		p := startIn(t, g, "hog") // 256 MiB are too many
		p.begin(t)
		p.ended(t)
		p = startIn(t, g, "grow")
		p.begin(t)
		p.line(t)
		steps, err := g.Update(fromJSON(t, `{"memory":{"limit":1048576,"checkBeforeUpdate":true}}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = try(steps)
		for _, says := range []string{"are used", "memory.limit"} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("limit below what is used: %v, want %s", err, says)
			}
		}
		if kills, err := g.OOMKills(); err != nil || kills != 1 {
			t.Errorf("OOMKills() = %d, %v, want 1, the hog", kills, err)
		}
	})
}

// TestUpdateCPU moves quota, period and burst past each other, under a group above that sets a bound to their ratio.
func TestUpdateCPU(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"cpu":{"quota":50000,"period":100000,"burst":50000}}`)
		one, _ := g.with("cpu")
		two, _ := g.unified()
		if one.Version == 1 { // version 2 lets a group have more than the one above, to no effect
			if err := writeFile(parent(one).file("cpu.cfs_quota_us"), "50000"); err != nil {
				t.Fatal(err)
			}
		}
		for _, test := range []struct{ resources, want string }{
			{`{"cpu":{"quota":10000,"burst":5000}}`, "10000 100000 5000"},
			{`{"cpu":{"quota":5000,"period":10000}}`, "5000 10000 5000"},
			{`{"cpu":{"quota":50000,"period":100000}}`, "50000 100000 5000"},
			{`{"cpu":{"period":200000}}`, "50000 200000 5000"},
			{`{"cpu":{"burst":0}}`, "50000 200000 0"},
		} {
			update(t, g, test.resources)
			var got string
			if one.Version == 1 {
				got = content(t, one, "cpu.cfs_quota_us") + " " + content(t, one, "cpu.cfs_period_us") + " " +
					content(t, one, "cpu.cfs_burst_us")
			} else {
				got = fmt.Sprintf("%s %s", content(t, two, "cpu.max"), content(t, two, "cpu.max.burst"))
			}
			if got != test.want {
				t.Errorf("after %s: quota, period, burst are %s, want %s", test.resources, got, test.want)
			}
		}
	})
}

func content(t testing.TB, f folder, name string) string {
	t.Helper()
	text, err := readFile(f.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// TestKernelRefuses wants errors that name the field, and more than the kernel says.
func TestKernelRefuses(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		for _, test := range []struct {
			resources string
			says      []string
			is        error
		}{
			{`{"cpu":{"cpus":"4000"}}`, []string{"linux.resources.cpu.cpus", `"4000"`, "the group above has 0"}, nil},
			{`{"blockIO":{"throttleReadBpsDevice":[{"major":4000,"minor":1,"rate":5}]}}`, []string{"throttleReadBpsDevice[0].rate", "4000:1"}, nil},
			{`{"blockIO":{"weightDevice":[{"major":4000,"minor":1,"weight":10}]}}`, []string{"weightDevice[0].weight"}, nil},
		} {
			g := newGroup(t, host, test.resources)
			_, err := try(g.Create())
			for _, says := range test.says {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("%s: %v, want %s", test.resources, err, says)
				}
			}
			for _, f := range g.folders {
				if f.alive() {
					t.Errorf("%s: %s is left", test.resources, f.path)
				}
			}
		}
		odd := newGroup(t, host, `{}`)
		odd.settings.list = []setting{{
			version: odd.folders[0].Version, controller: "nonesuch", file: "nonesuch.max", value: "1", field: "linux.resources.x",
		}}
		odd.folders[0].Controllers = append(odd.folders[0].Controllers, "nonesuch")
		if _, err := try(odd.Create()); !errors.Is(err, ErrNotSupported) {
			t.Errorf("a controller that is not there: %v, want ErrNotSupported", err)
		}
	})
}

// TestUnified writes files by their names, in lines.
func TestUnified(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup2, testenv.LoopDevice)
	_, number := loopDevice(t)
	g := makeGroup(t, detect(t), fmt.Sprintf(
		`{"unified":{"memory.high":"1048576","io.max":"%v rbps=1000000\n%v wiops=100\n","cgroup.max.depth":"3"}}`, number, number))
	f, _ := g.unified()
	for name, want := range map[string]string{
		"memory.high": "1048576", "cgroup.max.depth": "3", "io.max": number.String() + " rbps=1000000 wbps=max riops=max wiops=100",
	} {
		if got := content(t, f, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	unknown := newGroup(t, detect(t), `{"unified":{"memory.nonesuch":"1"}}`)
	var missing *MissingError
	if _, err := try(unknown.Create()); !errors.As(err, &missing) || missing.Controller != "memory" {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestBusyAbove wants the reason told when a group with processes cannot hand a controller down.
func TestBusyAbove(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup2)
	host := detect(t)
	above := makeGroup(t, host, `{}`)
	startIn(t, above, "wait")
	g := below2(t, host, above)
	g.settings, _ = resolve(host, fromJSON(t, `{"memory":{"limit":1048576}}`))
	_, err := try(g.Create())
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Controller != "memory" || missing.Field != "linux.resources.memory.limit" ||
		!strings.Contains(err.Error(), "processes of its own") {
		t.Errorf("a limit below a group with processes: %v", err)
	}
	// Without a limit the group can be made all the same, and holds a process.
	plain := below2(t, host, above)
	run(t, plain.Create())
	startIn(t, plain, "wait")
}

// TestRace makes and undoes groups in one folder at the same time: none may trip over another's undoing.
func TestRace(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				path, err := ParsePath(fmt.Sprintf("/tandem-test-%d/deep/er/%d", os.Getpid(), n), "")
				if err != nil {
					t.Error(err)
					return
				}
				for range 50 {
					g, err := New(host, path, nil)
					if err != nil {
						t.Error(err)
						return
					}
					p := plan.New("race")
					p.Add(g.Create()...)
					done, err := p.Run(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					if err := done.Undo(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for _, h := range host.Hierarchies {
			// Who made a folder on the way leaves it to whom it found in it, who did not make it.
			dir := fmt.Sprintf("%s/tandem-test-%d", h.Mount, os.Getpid())
			if left, _ := filepath.Glob(dir + "/deep/er/[0-9]*"); len(left) > 0 {
				t.Errorf("%s are left", left)
			}
			if err := removeTree(soon(t), dir); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWatchOOMEndsWithContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		ctx, cancel := context.WithCancel(t.Context())
		events, err := g.WatchOOM(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		for e := range events {
			t.Errorf("event %+v of a group without processes", e)
		}
	})
}

// TestEventShape holds the keys that engines read from `runc events --stats`.
func TestEventShape(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"pids":{"limit":33},"memory":{"limit":67108864}}`)
		p := startIn(t, g, "spin")
		p.begin(t)
		p.line(t)
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(s.Event())
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			CPU struct {
				Usage struct{ Total, User, Kernel uint64 }
			}
			Memory struct {
				Usage struct{ Limit, Usage uint64 }
				Swap  struct{ Limit uint64 }
				Raw   map[string]uint64
			}
			Pids    struct{ Current, Limit uint64 }
			Hugetlb map[string]any
		}
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if e.CPU.Usage.Total == 0 || e.Memory.Usage.Limit != 64<<20 || e.Memory.Usage.Usage == 0 || len(e.Memory.Raw) == 0 ||
			e.Memory.Swap.Limit == 0 || e.Pids.Current == 0 || e.Pids.Limit != 33 || e.Hugetlb == nil {
			t.Errorf("%s", text)
		}
		// What Stats prints can be read again.
		if text, err = json.Marshal(s); err != nil {
			t.Fatal(err)
		}
		var again Stats
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if again.Pids.Limit != 33 || again.Memory.Limit != 64<<20 {
			t.Errorf("read again: %+v", again)
		}
	})
}
