package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

const newAll = unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// own is a specification of a container with all these namespaces.
func own(root string, mounts ...specs.Mount) Spec {
	return Spec{
		Root: root, Mounts: mounts, NewPID: true, NewIPC: true, NewNetwork: true, NewUTS: true, NewCgroup: true,
	}
}

// hasMount checks one line of mountinfo: what is in it, and what is not (with a "!" before it).
func hasMount(t *testing.T, text, at string, want ...string) {
	t.Helper()
	line, ok := mounts(text)[at]
	if !ok {
		t.Errorf("nothing is mounted on %s:\n%s", at, text)
		return
	}
	for _, w := range want {
		not, negative := strings.CutPrefix(w, "!")
		if strings.Contains(line, not) == negative {
			t.Errorf("%s: want %q in %s", at, w, line)
		}
	}
}

func hasLines(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains("\n"+text, "\n"+w+"\n") {
			t.Errorf("no line %q in:\n%s", w, text)
		}
	}
}

func TestUsual(t *testing.T) {
	root := busybox(t)
	spec := own(root, usual()...)
	spec.Readonly = true
	spec.Masked = []string{"/proc/timer_list", "/proc/missing", "/sys/firmware", "/proc/keys"}
	spec.ReadonlyAt = []string{"/proc/sys", "/proc/nothing"}
	spec.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel/msgmax": "9000", "fs.mqueue.msg_max": "20", "kernel.hostname": "x y"}
	text := box{
		spec: spec, namespaces: newAll,
		script: `cat /proc/self/mountinfo
			for d in null zero full random urandom tty; do stat -c '%n %F %a %t:%T' /dev/$d; done
			for l in fd stdin stdout stderr ptmx; do echo $l $(readlink /dev/$l); done
			cd /proc/sys; echo values $(cat net/ipv4/ip_forward kernel/msgmax fs/mqueue/msg_max kernel/hostname)
			(echo 1 >net/ipv4/ip_forward) 2>/dev/null || echo sysctls stay
			(: >/new) 2>/dev/null || echo nothing new
			echo masked $(cat /proc/keys | wc -c) $(ls /sys/firmware | wc -l)
			echo gone >/dev/null; ls /proc | grep -c '^[0-9]*$'; umask`,
	}.must(t)
	hasMount(t, text, "/", " ro,", root+" / ")
	hasMount(t, text, "/proc", " rw,", " - proc proc ")
	hasMount(t, text, "/dev", " rw,nosuid - tmpfs", "mode=755")
	hasMount(t, text, "/dev/pts", "nosuid,noexec,", " - devpts devpts ", "gid=5,mode=620,ptmxmode=666")
	hasMount(t, text, "/dev/shm", "nosuid,nodev,noexec,", "size=65536k")
	hasMount(t, text, "/dev/mqueue", " - mqueue ")
	hasMount(t, text, "/sys", " ro,", " - sysfs ")
	hasMount(t, text, "/proc/sys", "/sys /proc/sys ro,")
	hasLines(t, text,
		"/dev/null character special file 666 1:3", "/dev/zero character special file 666 1:5",
		"/dev/full character special file 666 1:7", "/dev/random character special file 666 1:8",
		"/dev/urandom character special file 666 1:9", "/dev/tty character special file 666 5:0",
		"fd /proc/self/fd", "stdin /proc/self/fd/0", "stdout /proc/self/fd/1", "stderr /proc/self/fd/2", "ptmx pts/ptmx",
		"values 1 9000 20 x y", "sysctls stay", "nothing new", "masked 0 0", "0022")
	if n := len(mounts(text)); n > 12 {
		t.Errorf("%d mounts, some of them the host's:\n%s", n, text)
	}
}

// The same with the host's / out of reach by chroot. In a user namespace the host's /proc can't be unmounted, but covered.
func TestNoPivot(t *testing.T) {
	root := busybox(t)
	for _, user := range []uint64{0, unix.CLONE_NEWUSER} {
		spec := own(root, usual()...)
		spec.NoPivot, spec.UserNS, spec.Rootless = true, user != 0, user != 0
		text := box{
			spec: spec, namespaces: newAll | user, maps: [2]string{"0 0 1\n", "0 0 1\n"},
			script: "ls /; cat /proc/self/mountinfo; cat /proc/1/comm",
		}.must(t)
		hasLines(t, text, "bin", "dev", "proc", "sys", "cat")
		hasMount(t, text, "/proc", " - proc ")
		if strings.Contains(text, "\netc\n") {
			t.Errorf("the host's files show:\n%s", text)
		}
	}
}

// What the host has in /proc and /sys is gone, also for who gets out of the chroot.
func TestNoPivotHides(t *testing.T) {
	root := busybox(t)
	for _, user := range []uint64{0, unix.CLONE_NEWUSER} {
		spec := own(root, usual()...)
		spec.NoPivot, spec.UserNS, spec.Rootless = true, user != 0, user != 0
		x := box{spec: spec, namespaces: newAll | user, maps: [2]string{"0 0 1\n", "0 0 1\n"}, script: ":"}
		var host child.Reg
		x.before = func(p *child.Program, _ *Build) {
			_, host = p.Openat2(child.AtCwd, "/", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "kept by the test")
		}
		x.after = func(p *child.Program, _ *Build) {
			p.Openat2(child.From("dir", host), "etc", unix.OpenHow{Flags: unix.O_PATH}, "it is the host's root")
			p.Openat2(child.From("dir", host), "proc/self", unix.OpenHow{Flags: unix.O_PATH}, "and this must not be there")
		}
		if _, err := x.run(t); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "proc/self") {
			t.Errorf("the host's /proc: %v, want %v", err, unix.ENOENT)
		}
	}
}

func TestUserNamespace(t *testing.T) {
	root := busybox(t)
	write(t, root+"/dev/full", "") // an image may have a file where a node should be
	for _, rootless := range []bool{false, true} {
		spec := own(root, usual(
			specs.Mount{Destination: "/data", Type: "bind", Source: t.TempDir(), Options: []string{"rbind", "ro", "nosuid"}},
			specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		)...)
		spec.UserNS, spec.Rootless = true, rootless
		spec.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}}
		spec.GIDMappings = spec.UIDMappings
		spec.Devices = []specs.LinuxDevice{{Path: "/dev/pipe", Type: "p"}}
		spec.Masked = []string{"/proc/keys", "/proc/acpi"}
		spec.ReadonlyAt = []string{"/proc/sys"}
		spec.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		text := box{
			spec: spec, namespaces: newAll | unix.CLONE_NEWUSER, maps: [2]string{"0 0 1\n", "0 0 1\n"},
			script: `cat /proc/self/mountinfo; cat /proc/self/uid_map; stat -c '%n %F' /dev/full /dev/pipe; cat /proc/keys; cat /proc/sys/net/ipv4/ip_forward`,
		}.must(t)
		hasMount(t, text, "/dev/pts", " - devpts ", "!gid=5")
		hasMount(t, text, "/dev/null", " /null ")
		hasMount(t, text, "/data", " ro,nosuid")
		hasMount(t, text, "/sys", " - sysfs ", " ro,")
		hasMount(t, text, "/proc", " - proc ")
		hasLines(t, text, "/dev/full character special file", "/dev/pipe fifo", "1")
	}
}

// Without a network namespace of its own a user namespace's root may mount no sysfs: it sees the host's, and can't write.
func TestHostSys(t *testing.T) {
	root := busybox(t)
	spec := own(root, usual()...)
	spec.UserNS, spec.Rootless, spec.NewNetwork = true, true, false
	text := box{
		spec: spec, namespaces: newAll&^unix.CLONE_NEWNET | unix.CLONE_NEWUSER, maps: [2]string{"0 0 1\n", "0 0 1\n"},
		script: "cat /proc/self/mountinfo; ls -d /sys/kernel",
	}.must(t)
	hasMount(t, text, "/sys", " - sysfs ", " ro,", "nosuid,nodev,noexec")
	for at, line := range mounts(text) {
		if strings.HasPrefix(at, "/sys/") && !strings.Contains(line, " ro,") {
			t.Errorf("writable below /sys: %s", line)
		}
	}
	hasLines(t, text, "/sys/kernel")
}

// Once all is done the child holds nothing open of what it has worked with: neither the host's folders nor the container's.
// Another process of the container, if there was one, could reach it through /proc/PID/fd (CVE-2016-9962).
func TestNothingStaysOpen(t *testing.T) {
	root, folder := busybox(t), t.TempDir()
	write(t, root+"/full/file", "")
	for _, user := range []uint64{0, unix.CLONE_NEWUSER} {
		spec := own(root, usual(bind(folder, "/deep/er/place", "rshared"), tmpfs("/full", "tmpcopyup", "ro"), bind("/dev/null", "/new/file"), cgroupMount)...)
		spec.UserNS, spec.Rootless = user != 0, user != 0
		spec.Masked, spec.ReadonlyAt = []string{"/proc/keys", "/sys/firmware", "/missing"}, []string{"/proc/sys", "/missing"}
		spec.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		spec.Propagation, spec.Readonly = "rshared", true
		spec.Devices = []specs.LinuxDevice{{Path: "/dev/a/b/null", Type: "c", Major: 1, Minor: 3}}
		if user != 0 {
			spec.Devices = nil // the host has none of that name
		}
		x := box{spec: spec, namespaces: newAll | user, maps: [2]string{"0 0 1\n", "0 0 1\n"}, script: ":"}
		x.before = func(p *child.Program, b *Build) {
			master, slave, _ := b.Pty(p)
			b.Console(p, slave)
			p.Close(slave)
			p.Close(master)
		}
		x.after = func(p *child.Program, _ *Build) { p.Sync("done", "") }
		x.at = func(name string, process *child.Process) {
			if name != "done" {
				return
			}
			fds := filepath.Join("/proc", strconv.Itoa(process.PID), "fd")
			entries, err := os.ReadDir(fds)
			if err != nil {
				t.Error(err)
			}
			for _, e := range entries {
				link, err := os.Readlink(filepath.Join(fds, e.Name()))
				if err != nil {
					t.Error(err)
				}
				if fd, _ := strconv.Atoi(e.Name()); fd > 2 && !strings.HasPrefix(link, "pipe:") && !strings.HasPrefix(link, "socket:") &&
					!strings.Contains(link, "tandem-stub") {
					t.Errorf("open at the end: %s -> %s", e.Name(), link)
				}
			}
		}
		x.must(t)
	}
}
