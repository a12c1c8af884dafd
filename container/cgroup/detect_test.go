package cgroup

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Mounts as they are found, with other file systems among them.
const (
	mountsV1 = `22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
31 22 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
33 31 0:29 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,net_cls,net_prio
`
	ownV1 = `12:net_cls,net_prio:/
5:memory:/user.slice/user-0.slice/session-1.scope
4:cpu,cpuacct:/user.slice
1:name=systemd:/user.slice/user-0.slice/session-1.scope
`
	mountsHybrid = mountsV1 + `32 31 0:28 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
`
	ownHybrid = ownV1 + "0::/user.slice/user-0.slice/session-1.scope\n"

	mountsV2 = `30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`
	ownV2 = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a:b.scope\n"

	// A container of docker's without a cgroup namespace: a part of each hierarchy is bound, and memory is mounted once
	// more, whole, in a place that a space makes harder to read.
	mountsBound = `500 499 0:34 /docker/4f2c /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,memory
501 499 0:33 /docker/4f2c /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:15 - cgroup cgroup rw,cpu,cpuacct
502 499 0:36 /docker/4f2c /sys/fs/cgroup/pids ro,nosuid,nodev,noexec,relatime master:18 - cgroup cgroup rw,pids
503 499 0:34 / /mnt/all\040memory rw,relatime - cgroup cgroup rw,memory
`
	ownBound = `5:memory:/docker/4f2c
4:cpu,cpuacct:/docker/4f2c/inner
3:pids:/system.slice/elsewhere
`
)

func TestParseHost(t *testing.T) {
	v1 := []Hierarchy{
		{Version: 1, Mount: "/sys/fs/cgroup/cpu,cpuacct", Root: "/", Controllers: []string{"cpu", "cpuacct"}, Self: "/user.slice"},
		{Version: 1, Mount: "/sys/fs/cgroup/memory", Root: "/", Controllers: []string{"memory"}, Self: "/user.slice/user-0.slice/session-1.scope"},
		{Version: 1, Mount: "/sys/fs/cgroup/net_cls,net_prio", Root: "/", Controllers: []string{"net_cls", "net_prio"}, Self: "/"},
		{Version: 1, Mount: "/sys/fs/cgroup/systemd", Root: "/", Name: "systemd", Self: "/user.slice/user-0.slice/session-1.scope"},
	}
	unified := Hierarchy{Version: 2, Mount: "/sys/fs/cgroup/unified", Root: "/", Self: "/user.slice/user-0.slice/session-1.scope"}
	for _, test := range []struct {
		name, mounts, own string
		mode              Mode
		want              []Hierarchy
	}{
		{"version 1", mountsV1, ownV1, V1, v1},
		{"hybrid", mountsHybrid, ownHybrid, Hybrid, append(slices.Clone(v1), unified)},
		{"version 2", mountsV2, ownV2, V2, []Hierarchy{
			{Version: 2, Mount: "/sys/fs/cgroup", Root: "/", Self: "/user.slice/user-1000.slice/user@1000.service/app.slice/a:b.scope"},
		}},
		{"bound", mountsBound, ownBound, V1, []Hierarchy{
			{Version: 1, Mount: "/mnt/all memory", Root: "/", Controllers: []string{"memory"}, Self: "/docker/4f2c"},
			{Version: 1, Mount: "/sys/fs/cgroup/cpu,cpuacct", Root: "/docker/4f2c", Controllers: []string{"cpu", "cpuacct"}, Self: "/inner"},
			{Version: 1, Mount: "/sys/fs/cgroup/pids", Root: "/docker/4f2c", Controllers: []string{"pids"}, Self: "/"},
		}},
		{"version 2 and a stray net_cls", mountsV2 + "90 30 0:80 / /run/vpn/net_cls rw - cgroup none rw,net_cls\n", ownV2 + "1:net_cls:/\n", V2, []Hierarchy{
			{Version: 1, Mount: "/run/vpn/net_cls", Root: "/", Controllers: []string{"net_cls"}, Self: "/"},
			{Version: 2, Mount: "/sys/fs/cgroup", Root: "/", Self: "/user.slice/user-1000.slice/user@1000.service/app.slice/a:b.scope"},
		}},
		{"beyond the cgroup namespace", mountsV2, "0::/../../elsewhere\n", V2, []Hierarchy{{Version: 2, Mount: "/sys/fs/cgroup", Root: "/", Self: "/"}}},
		{"none", "22 28 0:20 / /sys rw - sysfs sysfs rw\n", "", V1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			host, err := parseHost(strings.NewReader(test.mounts), []byte(test.own))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(host.Hierarchies, test.want) {
				t.Errorf("hierarchies:\n%+v\nwant:\n%+v", host.Hierarchies, test.want)
			}
			if got := host.Mode(); got != test.mode {
				t.Errorf("Mode() = %s, want %s", got, test.mode)
			}
		})
	}
}

func TestParseOwnRefuses(t *testing.T) {
	for _, text := range []string{"5:memory", "memory:/x\n", "5:memory:relative\n", "\x00\n"} {
		if got, err := parseOwn([]byte(text)); err == nil {
			t.Errorf("parseOwn(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseSubsystems(t *testing.T) {
	got := parseSubsystems([]byte("#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t0\t1\t0\nhalf a line\n"))
	if want := map[string]bool{"cpuset": true, "memory": false}; !reflect.DeepEqual(got, want) {
		t.Errorf("parseSubsystems = %v, want %v", got, want)
	}
}

// TestDetect compares with what the kernel says of this process in another way: its own group is where Self says.
func TestDetect(t *testing.T) {
	host, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range host.Hierarchies {
		pids, err := readPids(folder{path: h.Mount + h.Self}.file(procs))
		if err != nil {
			t.Errorf("%+v: %v", h, err)
		} else if !slices.Contains(pids, os.Getpid()) {
			t.Errorf("%s%s does not hold process %d", h.Mount, h.Self, os.Getpid())
		}
	}
	if len(host.Kernel) == 0 {
		t.Error("no controllers in /proc/cgroups")
	}
}

func FuzzParseHost(f *testing.F) {
	f.Add(mountsV1, ownV1)
	f.Add(mountsHybrid, ownHybrid)
	f.Add(mountsV2, ownV2)
	f.Add(mountsBound, ownBound)
	f.Add("1 2 3:4 / / - cgroup2 cgroup2 rw\n", "0::/..\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		host, err := parseHost(strings.NewReader(mounts), []byte(own))
		if err != nil {
			return
		}
		host.Mode()
		for _, h := range host.Hierarchies {
			if h.Self == "" || h.Self[0] != '/' || strings.Contains(h.Self+"/", "/../") {
				t.Errorf("Self = %q of %q", h.Self, own)
			}
			if h.Mount == "" || h.Mount[0] != '/' {
				t.Errorf("Mount = %q of %q", h.Mount, mounts)
			}
			if h.Version == 1 && len(h.keys()) == 0 {
				t.Errorf("a hierarchy without a key: %+v", h)
			}
		}
	})
}
