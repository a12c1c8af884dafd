package cgroup

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Hosts made by hand.
var (
	hostV1 = Host{
		Hierarchies: []Hierarchy{
			{Version: 1, Mount: "/cg/blkio", Controllers: []string{"blkio"}, Self: "/own"},
			{Version: 1, Mount: "/cg/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}, Self: "/own"},
			{Version: 1, Mount: "/cg/cpuset", Controllers: []string{"cpuset"}, Self: "/"},
			{Version: 1, Mount: "/cg/devices", Controllers: []string{"devices"}, Self: "/own"},
			{Version: 1, Mount: "/cg/freezer", Controllers: []string{"freezer"}, Self: "/own"},
			{Version: 1, Mount: "/cg/hugetlb", Controllers: []string{"hugetlb"}, Self: "/own"},
			{Version: 1, Mount: "/cg/memory", Controllers: []string{"memory"}, Self: "/own"},
			{Version: 1, Mount: "/cg/net", Controllers: []string{"net_cls", "net_prio"}, Self: "/own"},
			{Version: 1, Mount: "/cg/pids", Controllers: []string{"pids"}, Self: "/own"},
			{Version: 1, Mount: "/cg/rdma", Controllers: []string{"rdma"}, Self: "/own"},
			{Version: 1, Mount: "/cg/systemd", Name: "systemd", Self: "/own"},
		},
	}
	hostV2 = Host{
		Hierarchies: []Hierarchy{{
			Version: 2, Mount: "/cg", Self: "/own",
			Controllers: []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"},
		}},
	}
	// hostHybrid is what huge pages are left over on.
	hostHybrid = Host{
		Hierarchies: []Hierarchy{
			{Version: 1, Mount: "/cg/memory", Controllers: []string{"memory"}, Self: "/"},
			{Version: 1, Mount: "/cg/pids", Controllers: []string{"pids"}, Self: "/"},
			{Version: 1, Mount: "/cg/systemd", Name: "systemd", Self: "/"},
			{Version: 1, Mount: "/cg/other", Name: "other", Self: "/"},
			{Version: 2, Mount: "/cg/unified", Controllers: []string{"hugetlb"}, Self: "/"},
		},
		Kernel: map[string]bool{"memory": true, "pids": true, "hugetlb": true, "cpu": false},
	}
)

func fromJSON(t testing.TB, text string) *specs.LinuxResources {
	t.Helper()
	var r specs.LinuxResources
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &r
}

// writes are the steps that write, as "file=value".
func writes(t testing.TB, h Host, text string) ([]string, *Group, error) {
	t.Helper()
	p, err := ParsePath("/x", "")
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(h, p, fromJSON(t, text))
	if err != nil {
		return nil, nil, err
	}
	var list []string
	for _, s := range g.settings.steps(g) {
		_, file, _ := strings.Cut(s.Object, "/x/")
		if s.Op == "write" {
			list = append(list, file+"="+s.Args[0].Value.(string))
		} else {
			list = append(list, s.String())
		}
		if s.Why == "" {
			t.Errorf("%s: no reason", s)
		}
	}
	return list, g, nil
}

func TestResources(t *testing.T) {
	const none = "-"
	for _, test := range []struct{ name, resources, v1, v2 string }{
		{"nothing", `{}`, none, none},
		{"nulls and noughts", `{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0,"period":0},"pids":{},"blockIO":{"weight":0}}`, none, none},

		{"memory", `{"memory":{"limit":1048576}}`, "memory.limit_in_bytes=1048576", "memory.max=1048576"},
		{
			"memory and swap", `{"memory":{"limit":1000,"swap":3000,"reservation":500}}`,
			"memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=3000 memory.soft_limit_in_bytes=500",
			"memory.max=1000 memory.swap.max=2000 memory.low=500",
		},
		{
			"no swap", `{"memory":{"limit":1000,"swap":1000}}`,
			"memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=1000", "memory.max=1000 memory.swap.max=0",
		},
		{
			"any swap", `{"memory":{"limit":1000,"swap":-1}}`,
			"memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=-1", "memory.max=1000 memory.swap.max=max",
		},
		{
			"no limit of memory is none of swap", `{"memory":{"limit":-1}}`,
			"memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1", "memory.max=max memory.swap.max=max",
		},
		{
			"memory of version 1", `{"memory":{"kernelTCP":4096,"swappiness":60,"disableOOMKiller":true,"useHierarchy":true}}`,
			"memory.use_hierarchy=1 memory.kmem.tcp.limit_in_bytes=4096 memory.swappiness=60 memory.oom_control=1", "error",
		},
		{"killer on", `{"memory":{"disableOOMKiller":false}}`, "memory.oom_control=0", none},

		{
			"cpu", `{"cpu":{"shares":1024,"quota":50000,"period":100000}}`,
			"cpu.shares=1024 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000", "cpu.weight=100 cpu.max=50000 100000",
		},
		{"quota alone", `{"cpu":{"quota":50000}}`, "cpu.cfs_quota_us=50000", "cpu.max=50000"},
		{"period alone", `{"cpu":{"period":50000}}`, "cpu.cfs_period_us=50000", "cpu.max=max 50000"},
		{"no quota", `{"cpu":{"quota":-1,"period":50000}}`, "cpu.cfs_period_us=50000 cpu.cfs_quota_us=-1", "cpu.max=max 50000"},
		{
			"burst", `{"cpu":{"quota":50000,"burst":20000}}`,
			"cpu.cfs_quota_us=50000 cpu.cfs_burst_us=20000", "cpu.max=50000 cpu.max.burst=20000",
		},
		{"idle comes after the weight", `{"cpu":{"shares":512,"idle":1}}`, "cpu.shares=512 cpu.idle=1", "cpu.weight=59 cpu.idle=1"},
		{"not idle comes before it", `{"cpu":{"shares":512,"idle":0}}`, "cpu.idle=0 cpu.shares=512", "cpu.idle=0 cpu.weight=59"},
		{"cpuset", `{"cpu":{"cpus":"0-1,3","mems":"0"}}`, "cpuset.cpus=0-1,3 cpuset.mems=0", "cpuset.cpus=0-1,3 cpuset.mems=0"},
		{"realtime", `{"cpu":{"realtimeRuntime":9500,"realtimePeriod":10000}}`, "cpu.rt_period_us=10000 cpu.rt_runtime_us=9500", "error"},

		{"pids", `{"pids":{"limit":20}}`, "pids.max=20", "pids.max=20"},
		{"any number of pids", `{"pids":{"limit":-1}}`, "pids.max=max", "pids.max=max"},
		{"no pids", `{"pids":{"limit":0}}`, "pids.max=0", "pids.max=0"},

		{
			"io weights", `{"blockIO":{"weight":10,"weightDevice":[{"major":8,"minor":0,"weight":1000}]}}`,
			"blkio.bfq.weight=10 blkio.bfq.weight_device=8:0 1000", "io.bfq.weight=10 io.bfq.weight=8:0 1000",
		},
		{
			"leaf weights", `{"blockIO":{"leafWeight":10,"weightDevice":[{"major":8,"minor":0,"leafWeight":1000}]}}`,
			"blkio.leaf_weight=10 blkio.leaf_weight_device=8:0 1000", "error",
		},
		{
			"throttles", `{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600},{"major":8,"minor":16,"rate":0}],
			"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":2}],
			"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":3}]}}`,
			"blkio.throttle.read_bps_device=8:0 600 blkio.throttle.read_bps_device=8:16 0 blkio.throttle.write_bps_device=8:0 1 " +
				"blkio.throttle.read_iops_device=8:0 2 blkio.throttle.write_iops_device=8:0 3",
			"io.max=8:0 rbps=600 io.max=8:16 rbps=max io.max=8:0 wbps=1 io.max=8:0 riops=2 io.max=8:0 wiops=3",
		},
		{
			"huge pages", `{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}`,
			"hugetlb.2MB.limit_in_bytes=4194304 hugetlb.2MB.rsvd.limit_in_bytes=4194304",
			"hugetlb.2MB.max=4194304 hugetlb.2MB.rsvd.max=4194304",
		},
		{
			"network", `{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5},{"name":"lo","priority":0}]}}`,
			"net_cls.classid=1048577 net_prio.ifpriomap=eth0 5 net_prio.ifpriomap=lo 0", "error",
		},
		{
			"rdma", `{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":0}}}`,
			"rdma.max=mlx4_0 hca_object=0 rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
			"rdma.max=mlx4_0 hca_object=0 rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
		},
		{
			"devices", `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}]}`,
			"devices.deny=a devices.allow=c 1:3 rw",
			"bpf /cg/x  command=BPF_PROG_ATTACH type=BPF_CGROUP_DEVICE default=deny exceptions=[c 1:3 rw]",
		},
		{
			"unified", `{"unified":{"memory.high":"100","cgroup.max.depth":"3","io.max":"8:0 rbps=1\n8:16 wbps=2"},"memory":{"limit":200}}`,
			"error", "memory.max=200 cgroup.max.depth=3 io.max=8:0 rbps=1\n8:16 wbps=2 memory.high=100",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, x := range []struct {
				host Host
				want string
			}{{hostV1, test.v1}, {hostV2, test.v2}} {
				list, _, err := writes(t, x.host, test.resources)
				got := strings.Join(list, " ")
				switch {
				case x.want == "error":
					if !errors.Is(err, ErrNotSupported) || errors.Is(err, ErrInvalid) {
						t.Errorf("%s: %q, %v, want ErrNotSupported", x.host.Mode(), got, err)
					}
				case err != nil:
					t.Errorf("%s: %v", x.host.Mode(), err)
				case got != strings.TrimPrefix(x.want, none):
					t.Errorf("%s: %q, want %q", x.host.Mode(), got, x.want)
				}
			}
		})
	}
}

// TestBadResources wants each bad value refused, in both versions, by its field's name, before anything is written.
func TestBadResources(t *testing.T) {
	for _, test := range []struct{ resources, field string }{
		{`{"memory":{"limit":-2}}`, "linux.resources.memory.limit -2"},
		{`{"memory":{"reservation":-5}}`, "linux.resources.memory.reservation -5"},
		{`{"memory":{"limit":100,"swap":99}}`, "linux.resources.memory.swap 99"},
		{`{"memory":{"limit":-1,"swap":99}}`, "linux.resources.memory.swap 99"},
		{`{"memory":{"swappiness":101}}`, "linux.resources.memory.swappiness 101"},
		{`{"cpu":{"period":999}}`, "linux.resources.cpu.period 999"},
		{`{"cpu":{"period":1000001}}`, "linux.resources.cpu.period 1000001"},
		{`{"cpu":{"quota":999}}`, "linux.resources.cpu.quota 999"},
		{`{"cpu":{"quota":-2}}`, "linux.resources.cpu.quota -2"},
		{`{"cpu":{"quota":5000,"burst":5001}}`, "linux.resources.cpu.burst 5001"},
		{`{"cpu":{"idle":2}}`, "linux.resources.cpu.idle 2"},
		{`{"cpu":{"realtimeRuntime":-2}}`, "linux.resources.cpu.realtimeRuntime -2"},
		{`{"cpu":{"realtimeRuntime":20,"realtimePeriod":10}}`, "linux.resources.cpu.realtimeRuntime 20"},
		{`{"cpu":{"cpus":"1-0"}}`, `linux.resources.cpu.cpus "1-0"`},
		{`{"cpu":{"cpus":"a"}}`, `linux.resources.cpu.cpus "a"`},
		{`{"cpu":{"mems":"0,\n1"}}`, "linux.resources.cpu.mems"}, // the kernel would read up to the end of the line
		{`{"cpu":{"mems":"0,,1"}}`, `linux.resources.cpu.mems "0,,1"`},
		{`{"pids":{"limit":-2}}`, "linux.resources.pids.limit -2"},
		{`{"pids":{"limit":4194305}}`, "linux.resources.pids.limit 4194305"},
		{`{"blockIO":{"weight":9}}`, "linux.resources.blockIO.weight 9"},
		{`{"blockIO":{"weight":1001}}`, "linux.resources.blockIO.weight 1001"},
		{`{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}`, "linux.resources.blockIO.weightDevice[0]"},
		{`{"blockIO":{"weightDevice":[{"major":-1,"minor":0,"weight":10}]}}`, "linux.resources.blockIO.weightDevice[0] -1:0"},
		{`{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":1048576,"rate":1}]}}`, "linux.resources.blockIO.throttleReadBpsDevice[0] 8:1048576"},
		{`{"hugepageLimits":[{"pageSize":"2M","limit":1}]}`, `linux.resources.hugepageLimits[0].pageSize "2M"`},
		{`{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}`, `linux.resources.hugepageLimits[0].pageSize "../2MB"`},
		{`{"network":{"priorities":[{"name":"a b","priority":1}]}}`, `linux.resources.network.priorities[0].name "a b"`},
		{`{"network":{"priorities":[{"name":"","priority":1}]}}`, `linux.resources.network.priorities[0].name ""`},
		{`{"rdma":{"mlx":{}}}`, `linux.resources.rdma["mlx"]`},
		{`{"rdma":{"a b":{"hcaHandles":1}}}`, `linux.resources.rdma["a b"]`},
		{`{"unified":{"../memory.max":"1"}}`, `linux.resources.unified["../memory.max"]`},
		{`{"unified":{"sub/memory.max":"1"}}`, `linux.resources.unified["sub/memory.max"]`},
		{`{"unified":{"tasks":"1"}}`, `linux.resources.unified["tasks"]`},
		{`{"unified":{"..":"1"}}`, `linux.resources.unified[".."]`},
		{`{"unified":{"cgroup.procs":"1"}}`, `linux.resources.unified["cgroup.procs"]`},
		{`{"unified":{"memory.high":""}}`, `linux.resources.unified["memory.high"]`},
		{`{"devices":[{"allow":true,"type":"x","access":"r"}]}`, `linux.resources.devices[0]`},
	} {
		for _, host := range []Host{hostV1, hostV2} {
			list, _, err := writes(t, host, test.resources)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.field) {
				t.Errorf("%s in %s: %q, %v, want ErrInvalid with %s", test.resources, host.Mode(), list, err, test.field)
			}
		}
	}
}

// TestEveryBadField wants all of them told at once.
func TestEveryBadField(t *testing.T) {
	_, _, err := writes(t, hostV2, `{"memory":{"limit":-7},"pids":{"limit":-3},"cpu":{"idle":9}}`)
	for _, field := range []string{"memory.limit -7", "pids.limit -3", "cpu.idle 9"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %q does not tell of %s", err, field)
		}
	}
}

// TestHybrid wants each limit where its controller is, and a folder in version 2 for those that are there alone.
func TestHybrid(t *testing.T) {
	folders := func(g *Group) (list []string) {
		for _, f := range g.folders {
			list = append(list, f.path)
		}
		return list
	}
	_, plain, err := writes(t, hostHybrid, `{"memory":{"limit":4096}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := folders(plain), []string{"/cg/memory/x", "/cg/pids/x", "/cg/systemd/x"}; !slices.Equal(got, want) {
		t.Errorf("folders %q, want %q", got, want)
	}
	if _, err := plain.FD(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("FD() of a group of version 1 = %v, want ErrNotSupported", err)
	}
	list, huge, err := writes(t, hostHybrid, `{"memory":{"limit":4096},"hugepageLimits":[{"pageSize":"2MB","limit":0}],"unified":{"cgroup.max.depth":"2"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := folders(huge), []string{"/cg/memory/x", "/cg/pids/x", "/cg/systemd/x", "/cg/unified/x"}; !slices.Equal(got, want) {
		t.Errorf("folders %q, want %q", got, want)
	}
	want := []string{"memory.limit_in_bytes=4096", "hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0", "cgroup.max.depth=2"}
	if !slices.Equal(list, want) {
		t.Errorf("writes %q, want %q", list, want)
	}
	if got, want := huge.JoinFiles(true), []string{"/cg/memory/x/tasks", "/cg/pids/x/tasks", "/cg/systemd/x/tasks"}; !slices.Equal(got, want) {
		t.Errorf("JoinFiles(true) = %q, want %q", got, want)
	}
	if got := huge.JoinFiles(false); len(got) != 4 || got[3] != "/cg/unified/x/cgroup.procs" {
		t.Errorf("JoinFiles(false) = %q", got)
	}
	paths := map[string]string{
		"memory": "/cg/memory/x", "pids": "/cg/pids/x", "name=systemd": "/cg/systemd/x", "": "/cg/unified/x",
	}
	for key, path := range paths {
		if huge.Paths()[key] != path {
			t.Errorf("Paths() = %v, want %v", huge.Paths(), paths)
		}
	}
}

// TestMissingControllers wants the controller, the field that asked for it, and the reason.
func TestMissingControllers(t *testing.T) {
	for _, test := range []struct {
		resources         string
		controller, field string
		says              string
	}{
		{`{"cpu":{"shares":2}}`, "cpu", "linux.resources.cpu.shares", "cgroup_disable"},
		{`{"blockIO":{"weight":10}}`, "blkio", "linux.resources.blockIO.weight", "built without"},
		{`{"network":{"classID":1}}`, "net_cls", "linux.resources.network.classID", "built without"},
		{`{"unified":{"memory.high":"1"}}`, "memory", `linux.resources.unified["memory.high"]`, "no cgroup hierarchy"},
		{`{"devices":[{"allow":false,"access":"rwm"}]}`, "", "", ""}, // a program in version 2 will do
	} {
		_, g, err := writes(t, hostHybrid, test.resources)
		if test.controller == "" {
			if f, ok := g.unified(); err != nil || !ok || f.path != "/cg/unified/x" {
				t.Errorf("%s: %v, %v", test.resources, g, err)
			}
			continue
		}
		var missing *MissingError
		if !errors.As(err, &missing) || !errors.Is(err, ErrNotSupported) || missing.Controller != test.controller ||
			missing.Field != test.field || !strings.Contains(missing.Reason, test.says) {
			t.Errorf("%s: %v, want controller %s missing for %s: %s", test.resources, err, test.controller, test.field, test.says)
		}
	}
}

func TestWarnings(t *testing.T) {
	list, g, err := writes(t, hostV1, `{"memory":{"kernel":4096,"useHierarchy":false}}`)
	if err != nil || len(list) != 0 {
		t.Fatalf("%q, %v", list, err)
	}
	if w := g.Warnings(); len(w) != 2 || !strings.Contains(w[0], "memory.kernel") || !strings.Contains(w[1], "useHierarchy") {
		t.Errorf("Warnings() = %q", w)
	}
	inside := hostV1
	inside.UserNS = true
	list, g, err = writes(t, inside, `{"devices":[{"allow":false,"access":"rwm"}]}`)
	if err != nil || len(list) != 0 || len(g.Warnings()) != 1 {
		t.Errorf("devices in a user namespace: %q, %q, %v, want a warning alone", list, g.Warnings(), err)
	}
}

func TestSharesToWeight(t *testing.T) {
	for _, test := range [][2]uint64{
		// The three points that the curve was made for, its ends, and what runc's issue 4896 shows for 2000.
		{2, 1}, {1024, 100}, {262144, 10000}, {1, 1}, {1 << 40, 10000}, {2000, 170},
	} {
		if got := sharesToWeight(test[0]); got != test[1] {
			t.Errorf("sharesToWeight(%d) = %d, want %d", test[0], got, test[1])
		}
	}
	for shares, last := uint64(2), uint64(0); shares <= 262144; shares++ {
		weight := sharesToWeight(shares)
		if weight < last || weight < 1 || weight > 10000 {
			t.Fatalf("sharesToWeight(%d) = %d after %d", shares, weight, last)
		}
		last = weight
	}
	for _, test := range [][2]uint64{{10, 1}, {1000, 10000}, {100, 910}} {
		if got := blkioToWeight(uint16(test[0])); got != test[1] {
			t.Errorf("blkioToWeight(%d) = %d, want %d", test[0], got, test[1])
		}
	}
}

// FuzzResources feeds whatever reads as resources to both versions: an error or a list of writes to files of the group
// itself.
func FuzzResources(f *testing.F) {
	for _, text := range []string{
		`{"memory":{"limit":1000,"swap":3000}}`, `{"cpu":{"shares":1024,"quota":5000,"cpus":"0-3"}}`,
		`{"unified":{"memory.high":"1","a.b":"x\ny"}}`, `{"rdma":{"m":{"hcaHandles":1}},"hugepageLimits":[{"pageSize":"1GB"}]}`,
		`{"blockIO":{"weightDevice":[{"major":1,"minor":2,"weight":10}]},"devices":[{"allow":true,"type":"c","access":"rw"}]}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r specs.LinuxResources
		if json.Unmarshal([]byte(text), &r) != nil {
			return
		}
		for _, host := range []Host{hostV1, hostV2, hostHybrid} {
			g, err := New(host, Path{clean: "/x"}, &r)
			if err != nil {
				continue
			}
			for _, s := range g.settings.list {
				if strings.Contains(s.file, "/") || s.file == "" || s.file == procs || s.value == "" {
					t.Errorf("%s: writes %q to %q", text, s.value, s.file)
				}
			}
			g.Create()
		}
	})
}
