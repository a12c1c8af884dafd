package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/testenv"
)

// groups makes a group of the test's in each of these folders, and gives their paths.
func groups(t *testing.T, keys map[string]string) map[string]string {
	t.Helper()
	paths := make(map[string]string)
	for key, mount := range keys {
		paths[key] = filepath.Join(mount, fmt.Sprintf("rootfs-test-%d", os.Getpid()))
		if err := os.Mkdir(paths[key], 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(paths[key]); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		})
	}
	return paths
}

// joining has the box join the groups before anything else, and then its cgroup namespace, if it has one.
func (x *box) joining(t *testing.T) {
	namespace := x.namespaces & unix.CLONE_NEWCGROUP
	x.namespaces &^= unix.CLONE_NEWCGROUP
	paths := x.spec.Cgroup
	x.first = func(p *child.Program) {
		p.Sync("join", "")
		if namespace != 0 {
			p.Call("unshare", unix.SYS_UNSHARE, "", "", child.Int("flags", int(namespace)))
		}
	}
	x.at = func(name string, process *child.Process) {
		if name != "join" {
			return
		}
		for _, path := range paths {
			if err := os.WriteFile(path+"/cgroup.procs", []byte(strconv.Itoa(process.PID)), 0); err != nil {
				t.Error(err)
			}
		}
	}
}

var cgroupMount = specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime"}}

func withOption(m specs.Mount, options ...string) specs.Mount {
	m.Options = append(slices.Clone(m.Options), options...)
	return m
}

func TestCgroup1(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup1)
	paths := groups(t, map[string]string{
		"memory": "/sys/fs/cgroup/memory", "pids": "/sys/fs/cgroup/pids", "name=systemd": "/sys/fs/cgroup/systemd",
	})
	root := busybox(t)
	for _, test := range []struct {
		namespace bool
		options   []string
		want      string
	}{
		{true, nil, " rw,"},
		{true, []string{"ro"}, " ro,"},
		{false, nil, " ro,"},
		{false, []string{"rw"}, " rw,"},
		{false, []string{"ro"}, " ro,"},
	} {
		spec := own(root, usual(withOption(cgroupMount, test.options...))...)
		spec.Cgroup, spec.NewCgroup = paths, test.namespace
		x := box{spec: spec, namespaces: newAll, script: `cat /proc/self/mountinfo; ls /sys/fs/cgroup; cd /sys/fs/cgroup/memory; echo memory $(ls | grep -c rootfs-test) $(cat cgroup.procs | wc -l)`}
		if !test.namespace {
			x.namespaces &^= unix.CLONE_NEWCGROUP
		}
		x.joining(t)
		text := x.must(t)
		for _, name := range []string{"memory", "pids", "systemd"} {
			hasMount(t, text, "/sys/fs/cgroup/"+name, test.want, "nosuid,nodev,noexec", " - cgroup ")
		}
		hasMount(t, text, "/sys/fs/cgroup", " - tmpfs ")
		// Its root is the group itself: this test's processes are in it, and it is to be seen nowhere.
		if !strings.Contains(text, "\nmemory 0 ") || strings.HasSuffix(text, " 0\n") {
			t.Errorf("namespace %t: not the own group:\n%s", test.namespace, text)
		}
	}
}

// CVE-2023-25809: a container of a user's who is not root sees no group of the host's that it could write to. This one is
// in the user's own user namespace, with the host's cgroup namespace.
func TestCgroupOfTheHost(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup1)
	root := busybox(t)
	paths := groups(t, map[string]string{"memory": "/sys/fs/cgroup/memory"})
	for name, test := range map[string]struct {
		cgroup map[string]string
		want   string // what is mounted
	}{
		"none": {nil, " - tmpfs "}, "its own": {paths, " - cgroup "},
		"one that is gone": {map[string]string{"memory": "/sys/fs/cgroup/memory/no-such-group"}, " - tmpfs "},
	} {
		for _, options := range [][]string{{"rw"}, nil} {
			spec := own(root, usual(withOption(cgroupMount, options...))...)
			spec.Cgroup, spec.NewCgroup, spec.UserNS, spec.Rootless = test.cgroup, false, true, true
			at := "/sys/fs/cgroup"
			if len(test.cgroup) > 0 {
				at += "/memory"
			}
			text := box{
				spec: spec, namespaces: newAll&^unix.CLONE_NEWCGROUP | unix.CLONE_NEWUSER, maps: [2]string{"0 0 1\n", "0 0 1\n"},
				script: "cat /proc/self/mountinfo; mkdir " + at + "/made 2>/dev/null || echo refused; find " + at + " -maxdepth 1 -type d | wc -l",
			}.must(t)
			hasMount(t, text, at, " ro,", test.want)
			hasLines(t, text, "refused", "1")
			if t.Failed() {
				t.Fatalf("%s %q:\n%s", name, options, text)
			}
		}
	}
}

// Controllers that share a hierarchy are links to its folder.
func TestCgroupLinks(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup1)
	path := groups(t, map[string]string{"memory": "/sys/fs/cgroup/memory"})["memory"]
	spec := own(busybox(t), usual(withOption(cgroupMount, "ro"))...)
	spec.Cgroup, spec.NewCgroup = map[string]string{"cpu": path, "cpuacct": path}, false
	text := box{
		spec: spec, namespaces: newAll &^ unix.CLONE_NEWCGROUP,
		script: "cd /sys/fs/cgroup; readlink cpu; readlink cpuacct; ls cpu/cgroup.procs; cat /proc/self/mountinfo; mkdir x 2>/dev/null || echo refused",
	}.must(t)
	hasLines(t, text, "cpu/cgroup.procs", "refused")
	if strings.Count(text, "cpu,cpuacct\n") != 2 {
		t.Errorf("not two links:\n%s", text)
	}
	hasMount(t, text, "/sys/fs/cgroup/cpu,cpuacct", " ro,")
}

func TestCgroup2(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup2)
	root := busybox(t)
	paths := groups(t, map[string]string{"": "/sys/fs/cgroup"})
	for _, namespace := range []bool{true, false} {
		for _, fstype := range []string{"cgroup", "cgroup2"} {
			m := cgroupMount
			m.Type = fstype
			spec := own(root, usual(m)...)
			spec.Cgroup, spec.NewCgroup = paths, namespace
			x := box{spec: spec, namespaces: newAll, script: "cat /proc/self/mountinfo; cd /sys/fs/cgroup; cat cgroup.type; echo $(ls | grep -c rootfs-test) own"}
			want := " rw,"
			if !namespace {
				x.namespaces &^= unix.CLONE_NEWCGROUP
				want = " ro,"
			}
			x.joining(t)
			text := x.must(t)
			hasMount(t, text, "/sys/fs/cgroup", want, " - cgroup2 ")
			hasLines(t, text, "0 own", "domain") // the topmost group of all has no cgroup.type
		}
	}
}

func TestHierarchies(t *testing.T) {
	got := hierarchies(map[string]string{
		"cpu": "/c/cpu,cpuacct/x", "cpuacct": "/c/cpu,cpuacct/x", "name=systemd": "/c/systemd/x", "": "/c/unified/x", "memory": "/c/memory/x",
	})
	var names []string
	for _, h := range got {
		names = append(names, h.name)
	}
	if want := []string{"cpu,cpuacct", "memory", "systemd", "unified"}; !slices.Equal(names, want) {
		t.Errorf("hierarchies %q, want %q", names, want)
	}
}
