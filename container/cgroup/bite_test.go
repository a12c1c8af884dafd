package cgroup

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// The tests of this file set each controller on a process, and see it bite.

func TestMemoryBites(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		// A little swap, so that the limit of memory is the one that is hit: Linux 6.18 does not count hits of the
		// other.
		g := makeGroup(t, host, `{"memory":{"limit":33554432,"swap":34603008}}`)
		ctx := soon(t)
		events, err := g.WatchOOM(ctx)
		if err != nil {
			t.Fatal(err)
		}
		hog := startIn(t, g, "hog")
		hog.begin(t)
		if signal := hog.ended(t); signal != syscall.SIGKILL {
			t.Errorf("hog ended by %v, want SIGKILL", signal)
		}
		select {
		case e, ok := <-events:
			if !ok || e.OOMs == 0 {
				t.Errorf("event %+v, %v", e, ok)
			}
		case <-ctx.Done():
			t.Error("no event")
		}
		// Whoever was killed is counted when it is dead, in version 1 a moment after the event.
		eventually(t, "one kill is counted", func() bool {
			kills, err := g.OOMKills()
			return err == nil && kills == 1
		})
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		m := s.Memory
		if m == nil || m.OOMKills != 1 || m.Failures == 0 || m.Limit != 32<<20 || m.MemorySwap.Limit != 33<<20 ||
			m.Max > 33<<20 || m.Max != 0 && m.Max < 30<<20 { // before Linux 5.19 version 2 tells no highest usage
			t.Errorf("Stats().Memory = %+v", m)
		}
		discard(t, g)
		for range events { // more of the same, and the end
		}
	})
}

func TestPidsBite(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"pids":{"limit":30}}`)
		p := startIn(t, g, "fork", "100")
		p.begin(t)
		var n int
		var result string
		if _, err := fmt.Sscan(p.line(t), &n, &result); err != nil {
			t.Fatal(err)
		}
		if result != "EAGAIN" || n == 0 || n >= 30 {
			t.Errorf("%d forks and then %s, want fewer than 30 and EAGAIN", n, result)
		}
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.Pids == nil || s.Pids.Limit != 30 || s.Pids.Failures == 0 || s.Pids.Current < uint64(n) {
			t.Errorf("Stats().Pids = %+v", s.Pids)
		}
		if pids, err := g.AllPids(); err != nil || len(pids) < n {
			t.Errorf("AllPids() = %v, %v, want %d or more", pids, err, n)
		}
	})
}

func TestCPUBites(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"cpu":{"quota":5000,"period":50000,"shares":100}}`)
		p := startIn(t, g, "spin")
		p.begin(t)
		p.line(t)
		var s *Stats
		eventually(t, "the group is throttled", func() bool {
			var err error
			if s, err = g.Stats(); err != nil {
				t.Fatal(err)
			}
			return s.CPU != nil && s.CPU.ThrottledPeriods > 2
		})
		if s.CPU.ThrottledTime == 0 || s.CPU.Usage == 0 || s.CPU.Periods < s.CPU.ThrottledPeriods {
			t.Errorf("Stats().CPU = %+v", s.CPU)
		}
	})
}

func TestCPUSetBites(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"cpu":{"cpus":"0","mems":"0"}}`)
		p := startIn(t, g, "affinity")
		p.begin(t)
		if got := p.line(t); got != "1" {
			t.Errorf("the process may use %s processors, want 1", got)
		}
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.CPUSet == nil || !slices.Equal(s.CPUSet.CPUs, []uint16{0}) || !slices.Equal(s.CPUSet.Mems, []uint16{0}) {
			t.Errorf("Stats().CPUSet = %+v", s.CPUSet)
		}
	})
}

func TestIOBites(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		testenv.Need(t, testenv.LoopDevice)
		device, number := loopDevice(t)
		g := makeGroup(t, host, fmt.Sprintf(
			`{"blockIO":{"throttleReadBpsDevice":[{"major":%d,"minor":%d,"rate":1048576}]}}`, number.Major, number.Minor))
		p := startIn(t, g, "read", device)
		begin := time.Now()
		p.begin(t)
		if got := p.line(t); got != "1048576 ok" {
			t.Errorf("read of a megabyte: %s", got)
		}
		// A megabyte a second: the kernel lets a part of it through at the start.
		if took := time.Since(begin); took < 500*time.Millisecond {
			t.Errorf("a megabyte took %v", took)
		}
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.IO == nil || s.IO.Devices[number].ReadBytes != 1<<20 || s.IO.Devices[number].Reads == 0 {
			t.Errorf("Stats().IO = %+v", s.IO)
		}
	})
}

// TestHugePagesBite is of the host where huge pages are all that version 2 has, too.
func TestHugePagesBite(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.HugePages)
	host := detect(t)
	for _, test := range []struct{ limit, want string }{{"0", "ENOMEM"}, {"2097152", "ok"}} {
		g := makeGroup(t, host, `{"hugepageLimits":[{"pageSize":"2MB","limit":`+test.limit+`}]}`)
		p := startIn(t, g, "huge")
		p.begin(t)
		if got := p.line(t); got != test.want {
			t.Errorf("with a limit of %s bytes mmap says %s, want %s", test.limit, got, test.want)
		}
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		h, ok := s.Hugetlb["2MB"]
		failed := test.want != "ok"
		if want, _ := strconv.ParseUint(test.limit, 10, 64); !ok || h.Limit != want || (h.Failures > 0) != failed {
			t.Errorf("Stats().Hugetlb = %+v", s.Hugetlb)
		}
		discard(t, g)
	}
}

// TestRealtime wants the time for realtime processes to be there before they come.
func TestRealtime(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup1)
	host := detect(t)
	p := start(t, nil, "realtime")
	p.begin(t)
	if got := p.line(t); got != "ok" {
		t.Fatalf("sched_setattr: %s", got)
	}
	pid := p.Process.Pid
	without := makeGroup(t, host, `{}`)
	if _, err := try(without.Join(&pid)); err == nil || !strings.Contains(err.Error(), "realtimeRuntime") {
		t.Errorf("a realtime process joins a group without time for it: %v", err)
	}
	home := folder{path: "/sys/fs/cgroup"}
	for _, h := range host.Hierarchies { // the others may have taken it
		if err := writeFile(folder{path: h.Mount + h.Self}.file(procs), strconv.Itoa(pid)); err != nil {
			t.Errorf("%s: %v", home.path, err)
		}
	}
	// The group above has to have time to give.
	above := folder{path: h1(t, host, "cpu") + fmt.Sprintf("/tandem-test-%d", unix.Getpid())}
	if err := writeFile(above.file("cpu.rt_runtime_us"), "50000"); err != nil {
		t.Fatal(err)
	}
	with := makeGroup(t, host, `{"cpu":{"realtimeRuntime":10000,"realtimePeriod":500000}}`)
	run(t, with.Join(&pid))
}

// h1 is where a controller of version 1 is mounted.
func h1(t testing.TB, host Host, controller string) string {
	t.Helper()
	h, ok := host.Find(controller)
	if !ok {
		t.Fatalf("no %s", controller)
	}
	return h.Mount
}

// TestIdleAndWeight changes both in either order, which the kernel minds.
func TestIdleAndWeight(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{"cpu":{"shares":2048,"idle":1}}`)
		update(t, g, `{"cpu":{"shares":100,"idle":0}}`)
		update(t, g, `{"cpu":{"shares":200,"idle":1}}`)
	})
}

func update(t testing.TB, g *Group, resources string) {
	t.Helper()
	steps, err := g.Update(fromJSON(t, resources))
	if err != nil {
		t.Fatalf("Update(%s): %v", resources, err)
	}
	if len(steps) == 0 {
		t.Fatalf("Update(%s) has no steps", resources)
	}
	run(t, steps)
}

// loopDevice is a block device of four megabytes.
func loopDevice(t testing.TB) (path string, number DeviceNumber) {
	t.Helper()
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(control)
	file, err := unix.Open(t.TempDir()+"/disk", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	if err := unix.Ftruncate(file, 4<<20); err != nil {
		t.Fatal(err)
	}
	index, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("%s/loop", t.TempDir())
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(index)))); err != nil {
		t.Fatal(err)
	}
	device, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(device, unix.LOOP_SET_FD, file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.IoctlSetInt(device, unix.LOOP_CLR_FD, 0); err != nil {
			t.Error(err)
		}
		unix.Close(device)
	})
	return path, DeviceNumber{7, uint64(index)}
}
