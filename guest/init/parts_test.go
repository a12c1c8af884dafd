package guestinit

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
	"tandem/internal/testenv"
)

func TestIsInit(t *testing.T) {
	if IsInit() {
		t.Error("a test is pid 1")
	}
}

func TestMountOptions(t *testing.T) {
	for _, test := range []struct {
		options string
		flags   uintptr
		data    string
	}{
		{"", 0, ""},
		{"defaults", 0, ""},
		{"ro,nosuid,nodev,noexec", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"ro,rw", 0, ""},
		{"rw,ro", unix.MS_RDONLY, ""},
		{"size=1m,ro,,mode=0755", unix.MS_RDONLY, "size=1m,mode=0755"},
		{"trans=virtio,version=9p2000.L,msize=512000,cache=none", 0, "trans=virtio,version=9p2000.L,msize=512000,cache=none"},
		{"roaming", 0, "roaming"},
	} {
		if flags, data := mountOptions(test.options); flags != test.flags || data != test.data {
			t.Errorf("mountOptions(%q) = %#x, %q, want %#x, %q", test.options, flags, data, test.flags, test.data)
		}
	}
}

func TestMissingHosts(t *testing.T) {
	const localhost = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
	for _, test := range []struct{ old, name, want string }{
		{"", "", localhost},
		{"", "box", localhost + "127.0.1.1\tbox\n"},
		{localhost, "", ""},
		{localhost, "box", "127.0.1.1\tbox\n"},
		{localhost + "10.0.0.1 a box", "box", ""},
		{"10.0.0.1 a # box", "box", "\n" + localhost + "127.0.1.1\tbox\n"},
		{"127.0.0.1 localhost box", "box", ""},
		{"box", "box", "\n" + localhost + "127.0.1.1\tbox\n"}, // an address without a name
	} {
		if got := missingHosts(test.old, test.name); got != test.want {
			t.Errorf("missingHosts(%q, %q) = %q, want %q", test.old, test.name, got, test.want)
		}
	}
}

func TestWriteHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "hosts")
	for range 2 { // the second time nothing is missing
		if err := writeHosts(path, "box"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if want := missingHosts("", "box"); err != nil || string(text) != want {
			t.Errorf("hosts %q, %v, want %q", text, err, want)
		}
	}
}

func TestWriteAccounts(t *testing.T) {
	etc, home := t.TempDir(), filepath.Join(t.TempDir(), "root")
	own := "someone:x:0:0::/:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(etc, "passwd"), []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeAccounts(etc, home); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(etc, "passwd")); string(text) != own {
		t.Errorf("passwd was overwritten: %q", text)
	}
	if text, _ := os.ReadFile(filepath.Join(etc, "group")); !strings.HasPrefix(string(text), "root:x:0:") {
		t.Errorf("group is %q", text)
	}
	if info, err := os.Stat(home); err != nil || !info.IsDir() {
		t.Errorf("home: %v", err)
	}
}

func TestActiveConsole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "active")
	for text, want := range map[string]string{
		"tty0 ttyS0\n": "/dev/ttyS0",
		"hvc0\n":       "/dev/hvc0",
		"\n":           "/dev/console",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := activeConsole(file); got != want {
			t.Errorf("activeConsole of %q = %q, want %q", text, got, want)
		}
	}
	if got := activeConsole(file + ".none"); got != "/dev/console" {
		t.Errorf("activeConsole of no list = %q", got)
	}
}

func TestFindVirtioPort(t *testing.T) {
	class := t.TempDir()
	for device, name := range map[string]string{"vport0p1": "other", "vport1p2": "tandem.agent", "vport2p1": ""} {
		dir := filepath.Join(class, device)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			continue // a port without a name has no such file
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte(name+"\n"), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := findVirtioPort(class, "tandem.agent"); err != nil || got != "vport1p2" {
		t.Errorf("findVirtioPort = %q, %v", got, err)
	}
	for _, name := range []string{"tandem", "tandem.agent\n", "none"} {
		if got, err := findVirtioPort(class, name); !errors.Is(err, errNoPort) {
			t.Errorf("findVirtioPort(%q) = %q, %v, want %v", name, got, err, errNoPort)
		}
	}
}

func TestOpenLine(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	line, err := openLine(filepath.Join("/dev/pts", strconv.Itoa(number)))
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	termios, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if termios.Cflag&unix.CRTSCTS == 0 {
		t.Error("no hardware flow control")
	}
	// Every byte comes through as it is, both ways, and none is answered by the line itself.
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, pair := range [][2]interface {
		Read([]byte) (int, error)
		Write([]byte) (int, error)
	}{{master, line}, {line, master}} {
		if _, err := pair[0].Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 300)
		n := 0
		for n < len(all) {
			m, err := pair[1].Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		if !slices.Equal(got[:n], all) {
			t.Errorf("got %q", got[:n])
		}
	}
	if _, err := openLine("/dev/no-such-line"); !errors.Is(err, errNoPort) {
		t.Errorf("openLine of none = %v, want %v", err, errNoPort)
	}
	if _, err := openLine("/dev/null"); err == nil || errors.Is(err, errNoPort) {
		t.Errorf("openLine of /dev/null = %v", err)
	}
}

func TestModuleName(t *testing.T) {
	for path, want := range map[string]string{
		"/lib/modules/6.1/kernel/drivers/virtio/virtio_pci.ko": "virtio_pci",
		"/lib/kvm-amd.ko":    "kvm_amd",
		"/lib/kvm-amd.ko.xz": "kvm_amd",
		"x":                  "x",
	} {
		if got := moduleName(path); got != want {
			t.Errorf("moduleName(%q) = %q, want %q", path, got, want)
		}
	}
	if err := loadModule(config.Module{Path: "/no/such.ko"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("loadModule of no file = %v", err)
	}
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "init.json")
	if c, err := readConfig(path); err != nil || c.Console == nil {
		t.Errorf("readConfig of no file = %+v, %v, want a shell", c, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := readConfig(path); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("readConfig = %+v, %v, want %v", c, err, config.ErrInvalid)
	}
}

func TestEnvironment(t *testing.T) {
	env := environment([]string{"TERM=xterm", "X=1"})
	for _, want := range []string{"TERM=xterm", "X=1", "HOME=/root"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	if slices.Contains(env, "TERM=vt220") {
		t.Errorf("TERM twice in %q", env)
	}
}

func TestEnableControllers(t *testing.T) {
	dir := t.TempDir()
	if err := enableControllers(dir); err != nil {
		t.Errorf("without cgroup2: %v", err)
	}
	control := filepath.Join(dir, "cgroup.subtree_control")
	for file, text := range map[string]string{filepath.Join(dir, "cgroup.controllers"): "rdma pids misc\n", control: ""} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := enableControllers(dir); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(control); string(text) != "+pids" {
		t.Errorf("enabled %q, want +pids", text)
	}
}

// inMountNamespace calls f on a thread with mounts of its own, which are gone afterwards.
func inMountNamespace(t *testing.T, f func()) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.MountNS)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestMount(t *testing.T) {
	dir := t.TempDir()
	inMountNamespace(t, func() {
		target := filepath.Join(dir, "deep", "target")
		if err := mount(config.Mount{Source: "tmpfs", Target: target, Type: "tmpfs", Options: "noexec,size=64k,mode=0700"}); err != nil {
			t.Error(err)
		}
		var s unix.Statfs_t
		if err := unix.Statfs(target, &s); err != nil || s.Type != unix.TMPFS_MAGIC || s.Flags&unix.ST_NOEXEC == 0 || s.Blocks*uint64(s.Bsize) != 64<<10 {
			t.Errorf("mounted %+v, %v", s, err)
		}
		file := filepath.Join(target, "file")
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Error(err)
		}
		for _, b := range []config.Mount{
			{Source: target, Target: filepath.Join(dir, "again"), Type: "bind", Options: "ro"},
			{Source: file, Target: filepath.Join(dir, "a", "file"), Type: "rbind", Options: "ro,noexec"},
		} {
			if err := mount(b); err != nil {
				t.Error(err)
			}
			if err := unix.Statfs(b.Target, &s); err != nil || s.Flags&unix.ST_RDONLY == 0 {
				t.Errorf("bind mount %+v, %v", s, err)
			}
		}
		for _, m := range []config.Mount{
			{Source: "x", Target: filepath.Join(dir, "none"), Type: "nosuchfs"},
			{Source: filepath.Join(dir, "missing"), Target: filepath.Join(dir, "none"), Type: "bind"},
		} {
			if err := mount(m); err == nil || !strings.Contains(err.Error(), m.Type) || !strings.Contains(err.Error(), m.Target) {
				t.Errorf("mount of %v = %v", m, err)
			}
			m.Optional = true
			if err := mount(m); err != nil {
				t.Errorf("optional mount of %v = %v", m, err)
			}
		}
		if err := mount(config.Mount{Source: "tmpfs", Target: filepath.Join(dir, "none"), Type: "tmpfs", Options: "nonsense=1", Optional: true}); err == nil {
			t.Error("an option that tmpfs does not know: no error")
		}
	})
}

func TestUevents(t *testing.T) {
	testenv.Need(t, testenv.Root)
	events, err := listenUevents()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if err := os.WriteFile("/sys/class/mem/null/uevent", []byte("change"), 0); err != nil {
		t.Fatal(err)
	}
	if err := waitUevent(events); err != nil {
		t.Error(err)
	}
}
