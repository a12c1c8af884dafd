package rootfs

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/plan"
)

var update = flag.Bool("update", false, "write testdata anew")

// print is the program as it is told of.
func print(p *child.Program) string {
	x := &plan.Plan{Name: "root file system", Phases: p.Phases()}
	var b bytes.Buffer
	if err := x.WriteText(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

// A plan is printed without any rights, and without asking the kernel for anything: none of these paths is there.
func TestPrint(t *testing.T) {
	spec := Spec{
		Root: "/run/box/rootfs", Overlay: &Overlay{Lower: []string{"/layers/b", "/layers/a"}, Upper: "/box/upper", Work: "/box/work"},
		Mounts: []specs.Mount{proc, tmpfs("/dev", "mode=755", "nosuid"), bind("/volumes/data", "/data", "ro", "rprivate")},
		Masked: []string{"/proc/kcore"}, ReadonlyAt: []string{"/proc/sys"}, Sysctl: map[string]string{"net.ipv4.ip_forward": "1"},
		NewNetwork: true, Readonly: true,
	}
	b, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	p := child.New()
	b.Prepare(p)
	b.Enter(p)
	b.Finish(p)
	p.Exit(0)
	got := print(p)
	const golden = "testdata/plan.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan has changed (go test -update writes it anew):\n%s", got)
	}
}

func TestBadSpecs(t *testing.T) {
	good := func() Spec { return Spec{Root: "/rootfs"} }
	for name, change := range map[string]func(*Spec){
		`root.path is empty`:                                    func(s *Spec) { s.Root = "" },
		`root.path "rootfs": not an absolute path`:              func(s *Spec) { s.Root = "rootfs" },
		`root.path "/": the host's root`:                        func(s *Spec) { s.Root = "/" },
		`root.path "/a\x00b" has a NUL byte`:                    func(s *Spec) { s.Root = "/a\x00b" },
		`has 5001 bytes, a path has at most 4095`:               func(s *Spec) { s.Root = "/" + strings.Repeat("x", 5000) },
		`linux.rootfsPropagation "rrslave"`:                     func(s *Spec) { s.Propagation = "rrslave" },
		`linux.rootfsPropagation "rprivate" without pivot_root`: func(s *Spec) { s.Propagation, s.NoPivot = "rprivate", true },
		`mounts[0].destination is empty`:                        func(s *Spec) { s.Mounts = []specs.Mount{{Type: "tmpfs"}} },
		`mounts[0].destination "/../" is the root itself`:       func(s *Spec) { s.Mounts = []specs.Mount{tmpfs("/../")} },
		`mounts[1] of /b is a bind mount without a source`:      func(s *Spec) { s.Mounts = []specs.Mount{tmpfs("/a"), bind("", "/b")} },
		`mounts[0].source "x" is relative`:                      func(s *Spec) { s.Mounts = []specs.Mount{bind("x", "/b")} },
		`mounts[0] of "/a" has type ""`:                         func(s *Spec) { s.Mounts = []specs.Mount{{Destination: "/a"}} },
		`mounts[0].options of "/a": option "=x" has no name`:    func(s *Spec) { s.Mounts = []specs.Mount{tmpfs("/a", "=x")} },
		`option "a\x00" has a NUL byte`:                         func(s *Spec) { s.Mounts = []specs.Mount{tmpfs("/a", "a\x00")} },
		`has the option tmpcopyup and type "bind"`:              func(s *Spec) { s.Mounts = []specs.Mount{bind("/x", "/a", "tmpcopyup")} },
		`neither it nor the container has mappings`:             func(s *Spec) { s.Mounts = []specs.Mount{bind("/x", "/a", "idmap")} },
		`has type "tmpfs": only bind mounts can have mappings`:  func(s *Spec) { s.Mounts = []specs.Mount{tmpfs("/a", "idmap")} },
		`has mappings for 1 users and 0 groups`: func(s *Spec) {
			m := bind("/x", "/a")
			m.UIDMappings = []specs.LinuxIDMapping{{Size: 1}}
			s.Mounts = []specs.Mount{m}
		},
		`mounts[0].destination "/proc/sys" lies in procfs`:          func(s *Spec) { s.Mounts = []specs.Mount{bind("/x", "/proc/sys")} },
		`linux.devices[0].path is empty`:                            func(s *Spec) { s.Devices = []specs.LinuxDevice{{Type: "c"}} },
		`linux.devices[0].path "dev/x": not an absolute path`:       func(s *Spec) { s.Devices = []specs.LinuxDevice{{Path: "dev/x", Type: "c"}} },
		`linux.devices[0].type "x" of /dev/x: want c, b, u or p`:    func(s *Spec) { s.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "x"}} },
		`linux.devices[0] of /dev/x: no device has the number -1:3`: func(s *Spec) { s.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "b", Major: -1, Minor: 3}} },
		`linux.devices[0].path "/proc/x" lies in procfs`:            func(s *Spec) { s.Devices = []specs.LinuxDevice{{Path: "/proc/x", Type: "c"}} },
		`linux.maskedPaths[0] "proc/kcore": not an absolute path`:   func(s *Spec) { s.Masked = []string{"proc/kcore"} },
		`linux.maskedPaths[0] "/" is the root itself`:               func(s *Spec) { s.Masked = []string{"/"} },
		`linux.readonlyPaths[1] "": not an absolute path`:           func(s *Spec) { s.ReadonlyAt = []string{"/a", ""} },
		`linux.sysctl kernel.panic belongs to no namespace`:         func(s *Spec) { s.Sysctl = map[string]string{"kernel.panic": "1"} },
		`linux.sysctl net.core.somaxconn belongs to a network`:      func(s *Spec) { s.Sysctl = map[string]string{"net.core.somaxconn": "1"} },
		`linux.sysctl "net/../kernel/panic" is no name`:             func(s *Spec) { s.Sysctl = map[string]string{"net/../kernel/panic": "1"} },
		`linux.sysctl "net" is no name`:                             func(s *Spec) { s.Sysctl = map[string]string{"net": "1"} },
		`overlay.lower is empty`:                                    func(s *Spec) { s.Overlay = &Overlay{} },
		`overlay.lower[0] "a": not an absolute path`:                func(s *Spec) { s.Overlay = &Overlay{Lower: []string{"a"}} },
		`overlay.upper "/u" and overlay.work "": want both or none`: func(s *Spec) { s.Overlay = &Overlay{Lower: []string{"/a"}, Upper: "/u"} },
		`overlay.work "/u/w" and overlay.upper "/u": one lies in`:   func(s *Spec) { s.Overlay = &Overlay{Lower: []string{"/a"}, Upper: "/u", Work: "/u/w"} },
		`overlay.options: "upperdir" has a field of its own`:        func(s *Spec) { s.Overlay = &Overlay{Lower: []string{"/a"}, Options: []string{"upperdir=/x"}} },
	} {
		s := good()
		change(&s)
		if _, err := New(s); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q in it", err, name)
		}
	}
	if _, err := New(good()); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		list string
		want options
	}{
		{"", options{}},
		{"defaults async loud nomand", options{}},
		{"rbind", options{bind: true, recursive: true}},
		{"ro nosuid rw", options{one: change{mask: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID, value: unix.MOUNT_ATTR_NOSUID}}},
		{"noatime strictatime", options{one: change{mask: unix.MOUNT_ATTR__ATIME, value: unix.MOUNT_ATTR_STRICTATIME}}},
		{"noatime atime", options{one: change{mask: unix.MOUNT_ATTR__ATIME}}},
		{"rro rexec rnoatime", options{all: change{
			mask: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR__ATIME, value: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOATIME,
		}}},
		{"slave rshared", options{propagation: []propagation{{unix.MS_SLAVE, false}, {unix.MS_SHARED, true}}}},
		{"ridmap tmpcopyup remount", options{idmap: true, idmapAll: true, copyUp: true, remount: true}},
		{`size=1m,mode=755 volatile sync context="a,b",x`, options{data: []datum{
			{"size", "1m", false}, {"mode", "755", false}, {"volatile", "", true}, {"sync", "", true}, {"context", `"a,b"`, false}, {"x", "", true},
		}}},
		{`lowerdir=/a\,b:/c`, options{data: []datum{{"lowerdir", `/a\,b:/c`, false}}}},
	} {
		got, err := parseOptions(strings.Fields(test.list))
		if err != nil || !equal(got, test.want) {
			t.Errorf("parseOptions(%q) = %+v, %v, want %+v", test.list, got, err, test.want)
		}
	}
	known := KnownMountOptions()
	if !slices.IsSorted(known) || len(slices.Compact(slices.Clone(known))) != len(known) {
		t.Errorf("not sorted, or double: %q", known)
	}
	// The table of the specification's config.md, Linux mount options.
	for _, name := range strings.Fields(`async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime
		noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount
		rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave
		rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap`) {
		if !slices.Contains(known, name) {
			t.Errorf("option %q is not known", name)
		}
		o, err := parseOptions([]string{name})
		if err != nil || len(o.data) > 0 && !superblock[name] {
			t.Errorf("option %q is passed to the file system: %+v, %v", name, o, err)
		}
	}
}

func equal(x, y options) bool {
	return slices.Equal(x.propagation, y.propagation) && slices.Equal(x.data, y.data) && x.one == y.one && x.all == y.all &&
		x.bind == y.bind && x.recursive == y.recursive && x.remount == y.remount && x.copyUp == y.copyUp && x.idmap == y.idmap && x.idmapAll == y.idmapAll
}

func TestSysctlNames(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":                "net/ipv4/ip_forward",
		"net/ipv4/ip_forward":                "net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/1.forwarding":    "net/ipv4/conf/eth0.1/forwarding",
		"net/ipv4/conf/eth0.1/forwarding":    "net/ipv4/conf/eth0.1/forwarding",
		"net.ipv4.conf.eth0/./.x":            "",
		"net.ipv4.conf.a/../../kernel.panic": "",
		"kernel..shmmax":                     "",
		".net.core":                          "",
		"net/":                               "",
		"":                                   "",
	} {
		got, err := sysctlPath(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("sysctlPath(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
}

func FuzzOptions(f *testing.F) {
	for _, seed := range []string{"ro,nosuid", "size=65536k", `context="a,b"`, `lowerdir=/a\,b:/c,upperdir=/u`, "rbind", "=", "a\x00", `\`, `"`, "gid=5,mode=0620,ptmxmode=0666"} {
		f.Add(seed, "ro")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		o, err := parseOptions([]string{first, second})
		if err != nil {
			return
		}
		var joined []string
		for _, d := range o.data {
			if d.key == "" || strings.ContainsRune(d.String(), 0) {
				t.Fatalf("%q gives %+v", first, d)
			}
			joined = append(joined, d.String())
		}
		again, err := parseOptions(joined)
		if err != nil || !slices.Equal(again.data, o.data) {
			t.Fatalf("%q, %q: data %+v read again is %+v, %v", first, second, o.data, again.data, err)
		}
		if o.one.value&^o.one.mask != 0 || o.all.value&^o.all.mask != 0 {
			t.Fatalf("%q sets what it does not name: %+v", first, o)
		}
	})
}

// FuzzNew holds that what New takes is a program that can be started, and printed.
func FuzzNew(f *testing.F) {
	f.Add("/rootfs", "/proc", "proc", "proc", "", "/dev/x", "c", "net.core.somaxconn", "/proc/kcore", "/lower")
	f.Add("/rootfs", "/data", "bind", "/x", "rbind,ro", "/dev/x", "p", "fs/mqueue/a", "/", "")
	f.Add("/r", "a/../b", "tmpfs", "", "tmpcopyup", "/a/b", "b", "kernel.sem", "a", "")
	f.Add("/r", "/sys/fs/cgroup", "cgroup", "cgroup", "ro", "/dev/null", "u", "user.max_user_namespaces", "//", "/a:b")
	f.Add("/r", "/v", "overlay", "overlay", "lowerdir=/a:/b,upperdir=/c", "/dev/null", "u", "user.max_user_namespaces", "//", "/a:b")
	f.Fuzz(func(t *testing.T, root, at, fstype, source, option, device, kind, sysctl, masked, lower string) {
		s := Spec{
			Root: root, Mounts: []specs.Mount{{Destination: at, Type: fstype, Source: source, Options: strings.Split(option, ",")}},
			Devices: []specs.LinuxDevice{{Path: device, Type: kind, Major: 1, Minor: 2}}, Sysctl: map[string]string{sysctl: "1"},
			Masked: []string{masked}, ReadonlyAt: []string{masked}, NewNetwork: true, NewIPC: true, UserNS: true,
			Cgroup: map[string]string{"cpu": "/c/1", "cpuacct": "/c/1", "": "/c/2"},
		}
		if lower != "" {
			s.Overlay = &Overlay{Lower: []string{lower, "/" + lower}}
		}
		b, err := New(s)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		p := child.New()
		b.Prepare(p)
		if _, slave, ok := b.Pty(p); ok {
			b.Console(p, slave)
		}
		b.Enter(p)
		b.Finish(p)
		p.Exit(0)
		if err := p.Err(); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if print(p) == "" {
			t.Fatal("nothing is printed")
		}
	})
}
