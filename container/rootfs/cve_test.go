package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// fails runs a box that may not start, and gives the error.
func (x box) fails(t *testing.T, want error, words ...string) {
	t.Helper()
	x.script = "cat /proc/self/mountinfo"
	text, err := x.run(t)
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v\n%s", err, want, text)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q has no %q", err, w)
		}
	}
}

// CVE-2023-27561: a /proc that is a link leads what is written to /proc/self/attr to a file of the container's.
func TestLinkAsProc(t *testing.T) {
	for _, test := range []struct{ fstype, at string }{{"proc", "proc"}, {"sysfs", "sys"}, {"tmpfs", "dev"}, {"proc", "x/y"}} {
		for _, target := range []string{"elsewhere", "/elsewhere", "missing"} {
			root := busybox(t)
			if err := os.Mkdir(root+"/elsewhere", 0o755); err != nil {
				t.Fatal(err)
			}
			top, _, deep := strings.Cut(test.at, "/")
			if deep {
				if err := os.Mkdir(root+"/elsewhere/y", 0o755); err != nil {
					t.Fatal(err)
				}
			}
			symlink(t, target, filepath.Join(root, top))
			want := error(unix.ELOOP)
			if target == "missing" && deep {
				want = unix.ENOTDIR // found out at the folder that is to be made in it
			}
			_, err := box{
				spec:       own(root, specs.Mount{Destination: "/" + test.at, Type: test.fstype, Source: test.fstype}),
				namespaces: newAll, script: ":",
			}.run(t)
			if !errors.Is(err, unix.ELOOP) && !errors.Is(err, want) {
				t.Errorf("%s on /%s -> %s: %v, want %v", test.fstype, test.at, target, err, want)
			}
		}
	}
}

// A mount whose place is led into procfs by a link of the image's is refused, as it would be by its name.
func TestLinkIntoProc(t *testing.T) {
	root := busybox(t)
	symlink(t, "/proc/self/attr", root+"/innocent")
	source := t.TempDir()
	box{
		spec: own(root, specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"},
			specs.Mount{Destination: "/innocent", Type: "bind", Source: source, Options: []string{"bind"}}), namespaces: newAll,
	}.fails(t, unix.EPERM, "/innocent lies in procfs")
	for at, ok := range map[string]bool{
		"/proc/self/attr": false, "/proc/sys": false, "/proc/../proc/1": false, "proc/sys": false, "/proc/cpuinfo": true,
		"/proc/net/dev": true, "/process": true, "/proc/": true,
	} {
		_, err := New(own(root, specs.Mount{Destination: at, Type: "bind", Source: source, Options: []string{"bind"}}))
		if (err == nil) != ok {
			t.Errorf("a bind mount on %s: %v", at, err)
		}
	}
	if _, err := New(own(root, specs.Mount{Destination: "/proc", Type: "tmpfs"})); !errors.Is(err, ErrInvalid) {
		t.Errorf("a tmpfs on /proc: %v", err)
	}
	// What is bound on /proc has to be a procfs, the whole of it.
	for source, want := range map[string]error{t.TempDir(): unix.EPERM, "/proc/sys": unix.EPERM, "/proc": nil} {
		x := box{
			spec:       own(root, specs.Mount{Destination: "/proc", Type: "bind", Source: source, Options: []string{"rbind"}}),
			namespaces: unix.CLONE_NEWUTS, script: ":",
		}
		if _, err := x.run(t); !errors.Is(err, want) {
			t.Errorf("%s on /proc: %v, want %v", source, err, want)
		}
	}
}

// lxcfs's way: a file over one of procfs's.
func TestFileInProc(t *testing.T) {
	root := busybox(t)
	write(t, root+"/../uptime", "1.00 1.00\n")
	text := box{
		spec: own(root, specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"},
			specs.Mount{Destination: "/proc/uptime", Type: "bind", Source: filepath.Dir(root) + "/uptime", Options: []string{"bind", "ro"}}),
		namespaces: newAll, script: "cat /proc/uptime",
	}.must(t)
	hasLines(t, text, "1.00 1.00")
}

// CVE-2021-30465: while a container is made, another one that shares a folder with it turns the mount's place into a link
// again and again. Whenever it is seen, the host is not what it leads to.
func TestPlaceThatMoves(t *testing.T) {
	root := busybox(t)
	host := t.TempDir() // what the attacker would like to have mounted on
	shared := t.TempDir()
	for _, dir := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(shared, dir, "target"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// b/target is a link that leaves the folder, and a root that resolves it as a path of the host's.
	up := strings.Repeat("../", 12)
	if err := os.Remove(shared + "/b/target"); err != nil {
		t.Fatal(err)
	}
	symlink(t, up+host, shared+"/b/target")
	source := t.TempDir()
	write(t, source+"/secret", "secret")
	ctx, cancel := context.WithCancel(t.Context())
	var attacker sync.WaitGroup
	attacker.Go(func() {
		for ctx.Err() == nil {
			if err := unix.Renameat2(unix.AT_FDCWD, shared+"/a", unix.AT_FDCWD, shared+"/b", unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	seen := map[bool]int{}
	for range 60 {
		spec := own(root,
			specs.Mount{Destination: "/shared", Type: "bind", Source: shared, Options: []string{"bind"}},
			specs.Mount{Destination: "/shared/a/target", Type: "bind", Source: source, Options: []string{"bind", "ro"}},
			specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"})
		x := box{spec: spec, namespaces: newAll, script: "cat /proc/self/mountinfo"}
		x.before = func(p *child.Program, _ *Build) { p.Sync("mounted", "") }
		x.at = func(name string, process *child.Process) {
			// In its mount namespace, on the host's folder: is anything mounted there?
			entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(process.PID), "root", host))
			if err != nil || len(entries) != 0 {
				t.Errorf("in the container's namespace the host's %s has %v, %v", host, entries, err)
			}
		}
		text, err := x.run(t)
		seen[err == nil]++
		if err != nil {
			continue // it may fail: a folder has become a link, or has gone
		}
		found := false
		for at := range mounts(text) {
			found = found || strings.HasSuffix(at, "/target") || strings.HasSuffix(at, filepath.Base(host))
		}
		if !found {
			t.Errorf("mounted, and to be seen nowhere:\n%s", text)
		}
	}
	cancel()
	attacker.Wait()
	t.Logf("%d mounted below the root, %d failed", seen[true], seen[false])
	if seen[true] == 0 {
		t.Error("no container was made: the race was never won by anybody")
	}
}

// CVE-2026-41579, CVE-2026-47766: /dev is a link of the image's to a folder of the host's, where a runtime removed a file called
// ptmx, and made links. CVE-2026-88264: as with /dev/console.
func TestLinkAsDev(t *testing.T) {
	for _, relative := range []bool{false, true} {
		host := t.TempDir()
		write(t, host+"/ptmx", "mine")
		root := busybox(t)
		target := host
		if relative {
			target = strings.Repeat("../", 12) + host
		}
		symlink(t, target, root+"/dev")
		box{spec: own(root), namespaces: newAll}.fails(t, unix.ELOOP, "fill /dev")
		entries, err := os.ReadDir(host)
		if err != nil || len(entries) != 1 || entries[0].Name() != "ptmx" {
			t.Errorf("the host's folder has %v, %v", entries, err)
		}
		if text, err := os.ReadFile(host + "/ptmx"); string(text) != "mine" {
			t.Errorf("the host's ptmx is %q, %v", text, err)
		}
	}
}

// CVE-2026-88264: /dev/console of the image is a link to a file that is not there.
func TestLinkAsConsole(t *testing.T) {
	host := t.TempDir()
	root := busybox(t)
	symlink(t, filepath.Join(host, "made"), root+"/dev/console")
	spec := own(root, specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666"}})
	x := box{spec: spec, namespaces: newAll}
	x.before = func(p *child.Program, b *Build) {
		_, slave, ok := b.Pty(p)
		if !ok {
			t.Error("no terminal")
		}
		b.Console(p, slave)
	}
	x.fails(t, unix.ELOOP, "/dev/console", "console")
	if entries, err := os.ReadDir(host); len(entries) != 0 {
		t.Errorf("the host's folder has %v, %v", entries, err)
	}
}

// CVE-2025-52565: what /dev/pts/0 leads to is changed between the opening of a terminal and the mount on /dev/console.
func TestTerminalThatMoves(t *testing.T) {
	root := busybox(t)
	x := box{spec: own(root, usual()...), namespaces: newAll, script: "cat /proc/self/mountinfo; readlink /dev/pts/0"}
	x.before = func(p *child.Program, b *Build) {
		master, slave, _ := b.Pty(p)
		p.Mount("tmpfs", root+"/dev/pts", "tmpfs", 0, "", "")
		p.Symlinkat("/proc/sysrq-trigger", child.AtCwd, root+"/dev/pts/0", "")
		b.Console(p, slave)
		p.Send("/dev/ptmx", master, "")
		p.Sync("terminal", "")
	}
	x.at = func(_ string, process *child.Process) { keepTerminal(t, process) }
	text := x.must(t)
	hasLines(t, text, "/proc/sysrq-trigger")
	hasMount(t, text, "/dev/console", "/0 /dev/console ", " - devpts ")
}

// CVE-2025-31133: the /dev/null that masks is a link of the image's to a file that should be masked, or another device.
func TestMaskWithAnotherNull(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a link":         func(path string) error { return os.Symlink("/proc/sys/kernel/core_pattern", path) },
		"a file":         func(path string) error { return os.WriteFile(path, []byte("x"), 0o644) },
		"another device": func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
	} {
		// With a /dev that was bound the runtime makes no nodes in it, and has to take what it finds.
		root, dev := busybox(t), t.TempDir()
		if err := make(dev + "/null"); err != nil {
			t.Fatal(err)
		}
		spec := own(root, specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"},
			specs.Mount{Destination: "/dev", Type: "bind", Source: dev, Options: []string{"bind"}})
		spec.Masked = []string{"/proc/keys"}
		box{spec: spec, namespaces: newAll}.fails(t, unix.ENODEV, "/dev/null")

		// Where it makes the nodes, the real one is put in its place.
		if err := os.Mkdir(root+"/dev", 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if err := make(root + "/dev/null"); err != nil {
			t.Fatal(err)
		}
		spec.Mounts = spec.Mounts[:1]
		text := box{spec: spec, namespaces: newAll, script: "stat -c '%F %t:%T' /dev/null; cat /proc/self/mountinfo"}.must(t)
		hasLines(t, text, "character special file 1:3")
		hasMount(t, text, "/proc/keys", "/dev/null ")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// CVE-2025-52881: what is written to a sysctl goes to a procfs that nobody could have changed: here /proc is a tmpfs of the
// image's own doing, and then a procfs with another file bound over the sysctl.
func TestSysctlElsewhere(t *testing.T) {
	root := busybox(t)
	write(t, root+"/fake/sys/net/ipv4/ip_forward", "fake\n")
	spec := own(root)
	spec.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	x := box{spec: spec, namespaces: newAll}
	// Not one of the specification's mounts: it is what an attacker has managed to do.
	x.before = func(p *child.Program, _ *Build) {
		p.Mkdirat(child.AtCwd, root+"/proc", 0o755, "")
		p.Mount(root+"/fake", root+"/proc", "", unix.MS_BIND, "", "")
	}
	x.script = "cat /proc/sys/net/ipv4/ip_forward; mkdir /real; mount -t proc proc /real; cat /real/sys/net/ipv4/ip_forward"
	hasLines(t, x.must(t), "fake", "1")

	spec.Mounts = []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}}
	x.spec = spec
	x.before = func(p *child.Program, _ *Build) {
		p.Mount(root+"/fake/sys/net/ipv4/ip_forward", root+"/proc/sys/net/ipv4/ip_forward", "", unix.MS_BIND, "", "")
	}
	x.script = "cat /proc/sys/net/ipv4/ip_forward; umount /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward"
	hasLines(t, x.must(t), "fake", "1")
	if text, err := os.ReadFile(root + "/fake/sys/net/ipv4/ip_forward"); string(text) != "fake\n" {
		t.Errorf("written to the container's file: %q, %v", text, err)
	}
}

// A procfs of its own is refused to a user namespace that has no PID namespace. Then the container's is written to, but never
// through what covers it.
func TestSysctlThroughTheContainersProc(t *testing.T) {
	root := busybox(t)
	write(t, root+"/fake", "fake\n")
	spec := own(root, specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}})
	spec.UserNS, spec.Rootless, spec.NewPID = true, true, false
	spec.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	for covered, want := range map[string]error{
		"": nil, "version": nil, "sys/net/ipv4/ip_forward": unix.EXDEV, "sys/net": unix.EXDEV, ".": unix.EINVAL,
	} {
		x := box{spec: spec, namespaces: newAll&^unix.CLONE_NEWPID | unix.CLONE_NEWUSER, maps: [2]string{"0 0 1\n", "0 0 1\n"}}
		x.script = "cat /proc/sys/net/ipv4/ip_forward"
		x.before = func(p *child.Program, _ *Build) {
			source := root + "/fake"
			switch covered {
			case "":
				return
			case "sys/net", ".":
				source = root + "/bin"
			}
			p.Mount(source, root+"/proc/"+covered, "", unix.MS_BIND, "", "")
		}
		text, err := x.run(t)
		if !errors.Is(err, want) {
			t.Errorf("/proc/%s is covered: %v, want %v\n%s", covered, err, want, text)
		}
		if want == nil {
			hasLines(t, text, "1")
		}
	}
}
