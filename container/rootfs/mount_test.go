package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/internal/testenv"
)

func bind(source, at string, options ...string) specs.Mount {
	return specs.Mount{Destination: at, Type: "bind", Source: source, Options: append([]string{"bind"}, options...)}
}

func tmpfs(at string, options ...string) specs.Mount {
	return specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: options}
}

var proc = specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"}

func TestBind(t *testing.T) {
	root := busybox(t)
	folder := t.TempDir()
	write(t, folder+"/file", "text\n")
	symlink(t, "/real", root+"/link")              // of a folder that is there
	symlink(t, "../run/made", root+"/etc/dangles") // of a file that is not
	for _, dir := range []string{"/real", "/run", "/data"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	spec := own(root, proc,
		bind(folder, "/a/new/place", "ro"), bind(folder+"/file", "/another/new/file", "nosuid", "nodev", "noexec"),
		bind(folder, "/link/deep", "noatime"), bind(folder+"/file", "/etc/dangles"), bind(folder, "relative", "strictatime", "nodiratime"),
		bind("sub", "/bundle"), bind(folder, "/data", "nosymfollow", "rw"))
	spec.Bundle = filepath.Dir(root)
	write(t, spec.Bundle+"/sub/x", "")
	text := box{spec: spec, namespaces: newAll, script: `cat /proc/self/mountinfo; cat /another/new/file /run/made /real/deep/file; ls /bundle`}.must(t)
	hasMount(t, text, "/a/new/place", " ro,relatime")
	hasMount(t, text, "/another/new/file", " rw,nosuid,nodev,noexec,relatime")
	hasMount(t, text, "/real/deep", " rw,noatime")
	hasMount(t, text, "/run/made", " rw,relatime")
	hasMount(t, text, "/relative", " rw,nodiratime ")
	hasMount(t, text, "/data", " rw,relatime,nosymfollow ")
	hasLines(t, text, "text", "x")
	if n := strings.Count(text, "text\n"); n != 3 {
		t.Errorf("the file shows in %d places, want 3:\n%s", n, text)
	}
	spec.Mounts = []specs.Mount{bind("/no/such/folder", "/a")}
	box{spec: spec, namespaces: newAll}.fails(t, unix.ENOENT, "/no/such/folder", "/a")
	spec.Mounts = []specs.Mount{bind(folder+"/file", "/data")}
	box{spec: spec, namespaces: newAll}.fails(t, unix.EISDIR, "/data")
	spec.Mounts = []specs.Mount{bind(folder, "/bin/busybox")}
	box{spec: spec, namespaces: newAll}.fails(t, unix.ENOTDIR, "/bin/busybox")
}

// Options with an r before hold for mounts below too, and others do not.
func TestRecursive(t *testing.T) {
	root := busybox(t)
	folder := t.TempDir()
	x := box{spec: own(root, proc,
		specs.Mount{Destination: "/shallow", Type: "none", Source: "/dev", Options: []string{"bind", "ro"}},
		specs.Mount{Destination: "/top", Type: "none", Source: "/dev", Options: []string{"rbind", "ro"}},
		specs.Mount{Destination: "/all", Type: "none", Source: "/dev", Options: []string{"rbind", "rro", "rnoexec", "rnoatime", "rw"}},
		specs.Mount{Destination: "/made", Type: "bind", Source: folder, Options: []string{"ro", "rrw"}},
	), namespaces: newAll, script: "cat /proc/self/mountinfo"}
	text := x.must(t)
	hasMount(t, text, "/shallow", " ro,")
	hasMount(t, text, "/top", " ro,")
	hasMount(t, text, "/top/shm", " rw,")
	for _, at := range []string{"/all", "/all/shm"} {
		hasMount(t, text, at, " ro,", "noexec,noatime ")
	}
	hasMount(t, text, "/made", " rw,")
	if _, ok := mounts(text)["/shallow/shm"]; ok {
		t.Errorf("bind has taken what is below:\n%s", text)
	}
}

func TestPropagation(t *testing.T) {
	root := busybox(t)
	folder := t.TempDir()
	for _, test := range []struct {
		root, volume string
		wantRoot     string // in the optional fields of mountinfo
		wantVolume   string
	}{
		{"", "", "!shared", "!shared"},
		{"rslave", "rshared", "!shared", " shared:"},
		{"private", "unbindable", "!shared", " unbindable"},
		{"rshared", "rprivate", " shared:", "!shared"},
		{"rprivate", "rshared", "!shared", " shared:"},
		{"unbindable", "slave", " unbindable", "!shared"},
		{"shared", "shared", " shared:", " shared:"},
	} {
		spec := own(root, proc, bind(folder, "/volume"))
		spec.Propagation = test.root
		if test.volume != "" {
			spec.Mounts[1].Options = append(spec.Mounts[1].Options, test.volume)
		}
		text := box{spec: spec, namespaces: newAll, script: "cat /proc/self/mountinfo"}.must(t)
		hasMount(t, text, "/", test.wantRoot)
		hasMount(t, text, "/volume", test.wantVolume)
	}
}

// A volume with rshared passes what the container mounts in it on to the host, where both say so; one without does not.
func TestPropagationToTheHost(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.MountNS)
	// The host is a child too, in a mount namespace of its own.
	root := busybox(t)
	for _, test := range []struct {
		root, volume string
		want         bool
	}{{"rshared", "rshared", true}, {"rslave", "rshared", false}, {"", "", false}} {
		dir := t.TempDir()
		done := make(chan bool)
		go func() {
			done <- inMountNS(t, func() bool {
				for _, m := range []struct {
					source, target, fstype string
					flags                  uintptr
				}{{"tmpfs", dir, "tmpfs", 0}, {"", dir, "", unix.MS_SHARED}} {
					if err := unix.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
						t.Error(err)
						return false
					}
				}
				if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
					t.Error(err)
				}
				spec := own(root, proc, specs.Mount{Destination: "/volume", Type: "bind", Source: dir, Options: []string{"rbind"}})
				spec.Propagation = test.root
				if test.volume != "" {
					spec.Mounts[1].Options = append(spec.Mounts[1].Options, test.volume)
				}
				if _, err := (box{spec: spec, namespaces: newAll, script: "mount -t tmpfs x /volume/sub && touch /volume/sub/seen"}).run(t); err != nil {
					t.Error(err)
				}
				_, err := os.Stat(dir + "/sub/seen")
				return err == nil
			})
		}()
		if got := <-done; got != test.want {
			t.Errorf("rootfsPropagation %q, volume %q: the host sees the mount: %t, want %t", test.root, test.volume, got, test.want)
		}
	}
}

func TestTmpfs(t *testing.T) {
	root := busybox(t)
	for name, mode := range map[string]os.FileMode{"open": 0o777 | os.ModeSticky, "closed": 0o700} {
		if err := os.Mkdir(root+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	text := box{
		spec: own(root, proc, tmpfs("/open"), tmpfs("/closed", "size=64k"), tmpfs("/new"), tmpfs("/given", "mode=0750", "noexec", "nr_inodes=20,size=1m"),
			tmpfs("/sealed", "ro", "mode=755"), tmpfs("/sealed/inner/deep")),
		namespaces: newAll, script: "stat -c '%n %a' /open /closed /new /given; cat /proc/self/mountinfo; touch /sealed/x 2>/dev/null || echo sealed; touch /sealed/inner/deep/x",
	}.must(t)
	hasLines(t, text, "/open 1777", "/closed 700", "/new 1777", "/given 750", "sealed")
	hasMount(t, text, "/closed", "size=64k")
	hasMount(t, text, "/given", "noexec", "size=1024k", "nr_inodes=20")
	hasMount(t, text, "/sealed", " ro,")
}

func TestTmpCopyUp(t *testing.T) {
	root := busybox(t)
	write(t, root+"/full/dir/file", "text\n")
	symlink(t, "dir/file", root+"/full/link")
	if err := os.Chmod(root+"/full", 0o751); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(root+"/full", 7, 8); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root+"/empty", 0o1777); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{{"tmpcopyup"}, {"tmpcopyup", "size=1m", "nosuid"}, {"ro", "tmpcopyup"}} {
		text := box{
			spec: own(root, proc, tmpfs("/full", options...), tmpfs("/empty", "tmpcopyup")), namespaces: newAll,
			script: `cat /full/link; stat -c '%n %a %u:%g' /full; (echo changed >/full/dir/file; touch /full/more; rm /full/link) 2>/dev/null
				cat /full/dir/file; ls /full /empty; cat /proc/self/mountinfo`,
		}.must(t)
		hasLines(t, text, "text", "/full 751 7:8")
		hasMount(t, text, "/empty", " - tmpfs ")
		hasMount(t, text, "/full", " - overlay ")
		if options[0] == "ro" {
			hasMount(t, text, "/full", " ro,")
		} else {
			hasLines(t, text, "changed", "more")
		}
		if n := strings.Count(text, " /full "); n != 1 {
			t.Errorf("%d mounts on /full:\n%s", n, text)
		}
	}
	if got, err := os.ReadFile(root + "/full/link"); string(got) != "text\n" {
		t.Errorf("the image's file is %q, %v", got, err)
	}
}

func TestRemount(t *testing.T) {
	root := busybox(t)
	text := box{spec: own(root, proc, tmpfs("/a", "size=1m"),
		specs.Mount{Destination: "/a", Options: []string{"remount", "ro", "nosuid", "size=2m"}},
		bind("/bin", "/b"), specs.Mount{Destination: "/b", Options: []string{"bind", "remount", "ro"}}), namespaces: newAll, script: "cat /proc/self/mountinfo"}.must(t)
	hasMount(t, text, "/a", " ro,nosuid", "size=2048k")
	hasMount(t, text, "/b", " ro,")
	box{spec: own(root, proc, specs.Mount{Destination: "/bin", Options: []string{"remount", "ro"}}), namespaces: newAll}.fails(t, unix.EINVAL, "/bin")
}

func TestIDMap(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IDMap)
	root := busybox(t)
	folder := t.TempDir()
	write(t, folder+"/file", "")
	if err := os.Chown(folder+"/file", 5, 6); err != nil {
		t.Fatal(err)
	}
	mappings := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 100}}
	m := bind(folder, "/data", "idmap")
	m.UIDMappings, m.GIDMappings = mappings, mappings
	all := bind(folder, "/all", "ridmap", "rbind")
	spec := own(root, proc, m, all)
	spec.UIDMappings, spec.GIDMappings = mappings, mappings
	script := "stat -c '%n %u:%g' /data/file /all/file; cat /proc/self/mountinfo"
	text := box{spec: spec, namespaces: newAll, script: script}.must(t)
	hasLines(t, text, "/data/file 1005:1006", "/all/file 1005:1006")
	// In a user namespace with the same mappings the files' owners are what they were on the disk. Its root is another
	// user, and so the root file system is mapped too.
	x := box{spec: spec, namespaces: newAll | unix.CLONE_NEWUSER, maps: [2]string{"0 1000 100\n", "0 1000 100\n"}, script: script}
	x.spec.UserNS = true
	for dir := root; dir != filepath.Dir(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := chownAll(root, 1000); err != nil {
		t.Fatal(err)
	}
	text = x.must(t)
	hasLines(t, text, "/data/file 5:6", "/all/file 5:6")
}

func chownAll(root string, id int) error {
	return filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, id, id))
	})
}

func TestDevices(t *testing.T) {
	root := busybox(t)
	mode, id := os.FileMode(0o640), uint32(7)
	spec := own(root, tmpfs("/dev", "mode=755"), proc)
	spec.Devices = []specs.LinuxDevice{
		{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200, FileMode: &mode, UID: &id, GID: &id},
		{Path: "/dev/sdz", Type: "b", Major: 65, Minor: 144},
		{Path: "/dev/fifo", Type: "p", FileMode: &mode},
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, FileMode: &mode},
		{Path: "/own/null", Type: "u", Major: 1, Minor: 3},
	}
	x := box{spec: spec, namespaces: newAll, script: "stat -c '%n %F %a %t:%T %u:%g' /dev/net/tun /dev/sdz /dev/fifo /dev/null /own/null"}
	text := x.must(t)
	want := []string{
		"/dev/net/tun character special file 640 a:c8 7:7", "/dev/sdz block special file 666 41:90 0:0", "/dev/fifo fifo 640 0:0 0:0",
		"/dev/null character special file 640 1:3 0:0", "/own/null character special file 666 1:3 0:0",
	}
	hasLines(t, text, want...)
	// A second time, in the folder that the first has left: what is there and right is kept, and what is not is replaced.
	x.spec.Mounts = x.spec.Mounts[1:]
	hasLines(t, x.must(t), want...)
	hasLines(t, x.must(t), want...)
	if err := os.Remove(root + "/dev/zero"); err != nil {
		t.Fatal(err)
	}
	symlink(t, "/etc/passwd", root+"/dev/zero")
	x.script = "stat -c '%F %t:%T' /dev/zero"
	hasLines(t, x.must(t), "character special file 1:5")
}

func TestPty(t *testing.T) {
	root := busybox(t)
	x := box{spec: own(root, usual()...), namespaces: newAll, script: "tty; cat /proc/self/mountinfo; stat -c '%n %F' /dev/console"}
	x.before = func(p *child.Program, b *Build) {
		master, slave, ok := b.Pty(p)
		if !ok {
			t.Error("no terminal")
		}
		b.Console(p, slave)
		p.Send("/dev/ptmx", master, "")
		p.Sync("terminal", "")
		p.Call("dup3", unix.SYS_DUP3, "", "", child.From("old", slave), child.Int("new", 0), child.Int("flags", 0))
	}
	x.at = func(_ string, process *child.Process) { keepTerminal(t, process) }
	text := x.must(t)
	hasLines(t, text, "/dev/pts/0", "/dev/console character special file")
	hasMount(t, text, "/dev/console", "/0 /dev/console ", " - devpts ")

	b, err := New(own(root, proc))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := b.Pty(child.New()); ok {
		t.Error("a terminal without devpts")
	}
}

// keepTerminal takes the master that was sent. A terminal lives as long as it is open.
func keepTerminal(t *testing.T, process *child.Process) {
	master := process.File()
	if master == nil {
		t.Error("the child has sent no terminal")
		return
	}
	t.Cleanup(func() { master.Close() })
}
