package lab

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/guest/agent"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzReply holds a client against whatever answers on the socket.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"version":1,"state":{"phase":"ready","supervisor_pid":1}}` + "\nrest"))
	f.Add([]byte(`{"version":2}` + "\n"))
	f.Add([]byte(`{"version":1,"refused":"no"}` + "\n"))
	f.Add([]byte("\n"))
	f.Add(bytes.Repeat([]byte{'x'}, maxLine+1))
	f.Fuzz(func(t *testing.T, text []byte) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			_, _ = there.Write(text)
			there.Close()
		}()
		c := newLineConn(here)
		for {
			if _, err := c.readReply(); err != nil {
				return
			}
		}
	})
}

func TestReplyVersion(t *testing.T) {
	d := dir(t.TempDir())
	l, err := net.Listen("unix", d.file(socketFile))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn := newLineConn(c)
			var r request
			if conn.readLine(&r) == nil {
				_ = conn.writeLine(reply{Version: protocolVersion + 1})
			}
			conn.Close()
		}
	}()
	if _, err := Status(t.Context(), Options{Dir: string(d)}); !errors.Is(err, ErrVersion) {
		t.Errorf("Status of another version's lab = %v, want ErrVersion", err)
	}
}

func TestRefused(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	mustUp(t, o)
	for _, r := range []request{{protocolVersion + 1, wantState}, {protocolVersion, "tea"}} {
		c, err := net.Dial("unix", dir(o.Dir).file(socketFile))
		if err != nil {
			t.Fatal(err)
		}
		conn := newLineConn(c)
		if err := conn.writeLine(r); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.readReply(); err == nil {
			t.Errorf("request %+v is granted", r)
		}
		conn.Close()
	}
}

// A client that says nothing does not hold up the lab's end.
func TestSilentClient(t *testing.T) {
	o := fakeLab(t, fakeMachine)
	mustUp(t, o)
	c, err := net.Dial("unix", dir(o.Dir).file(socketFile))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	begin := time.Now()
	if err := Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took >= lineLimit {
		t.Errorf("Down took %v", took)
	}
}

func TestDirIsPrivate(t *testing.T) {
	parent := t.TempDir()
	open := filepath.Join(parent, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Up(t.Context(), Options{Dir: open}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Up in a folder that others may look into = %v, want ErrPermission", err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Up(t.Context(), Options{Dir: link}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("Up in a link = %v, want ENOTDIR", err)
	}
	shared := filepath.Join(parent, "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Up(t.Context(), Options{Dir: filepath.Join(shared, "lab")}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Up in a folder that others may rename = %v, want ErrPermission", err)
	}
	long := filepath.Join(parent, strings.Repeat("x", maxSocketPath))
	if _, err := Up(t.Context(), Options{Dir: long}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("Up in a folder of a long name = %v, want that refused", err)
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("TANDEM_LAB_DIR", "/a/lab")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if got, err := DefaultDir(); got != "/a/lab" || err != nil {
		t.Errorf("DefaultDir = %q, %v", got, err)
	}
	t.Setenv("TANDEM_LAB_DIR", "")
	if got, err := DefaultDir(); got != "/run/user/7/tandem/lab" || err != nil {
		t.Errorf("DefaultDir = %q, %v", got, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	got, err := DefaultDir()
	if err != nil || !filepath.IsAbs(got) || !strings.Contains(got, "/tandem-") {
		t.Errorf("DefaultDir = %q, %v, want a folder with the user's number", got, err)
	}
}

func TestLockOfWhatIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := tryLock(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(path, os.O_RDWR); !errors.Is(err, errLocked) {
		t.Errorf("second lock = %v, want errLocked", err)
	}
	type result struct {
		f   *os.File
		err error
	}
	waiting := make(chan result)
	go func() {
		f, err := lock(t.Context(), path, os.O_RDWR|os.O_CREATE)
		waiting <- result{f, err}
	}()
	// Whoever waits for the old file's lock, or comes later, ends up with the lock of the new one.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	first.Close()
	r := <-waiting
	if r.err != nil {
		t.Fatal(r.err)
	}
	if _, err := tryLock(path, os.O_RDWR); !errors.Is(err, errLocked) {
		t.Errorf("the lock that was waited for is not the one at the path: %v", err)
	}
	r.f.Close()
}

func TestAccel(t *testing.T) {
	modules := t.TempDir()
	device := filepath.Join(modules, "kvm")
	nests := func() bool { return kvmNests(modules, device) }
	nested := filepath.Join(modules, "kvm_intel", "parameters", "nested")
	writeFile(t, nested, "Y\n")
	if nests() {
		t.Error("KVM nests without a device")
	}
	writeFile(t, device, "")
	if !nests() {
		t.Error("KVM with nested=Y does not nest")
	}
	writeFile(t, nested, "0\n")
	if nests() {
		t.Error("KVM with nested=0 nests")
	}
	writeFile(t, filepath.Join(modules, "kvm_amd", "parameters", "nested"), "1\n")
	if !nests() {
		t.Error("KVM with nested=1 does not nest")
	}
	if a, err := TCG.choose(); a != TCG || err != nil {
		t.Errorf("choose tcg = %q, %v", a, err)
	}
	if a, err := Auto.choose(); a != TCG && a != KVM || err != nil {
		t.Errorf("choose auto = %q, %v", a, err)
	}
	if _, err := Accel("xen").choose(); err == nil {
		t.Error("choose xen: no error")
	}
}

func TestAvailableMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meminfo")
	writeFile(t, path, "MemTotal:       16000 kB\nMemAvailable:    8000 kB\nBuffers: 1 kB\n")
	if n, err := availableMemory(path); n != 8000<<10 || err != nil {
		t.Errorf("availableMemory = %d, %v", n, err)
	}
	writeFile(t, path, "MemTotal:       16000 kB\n")
	if n, err := availableMemory(path); err == nil {
		t.Errorf("availableMemory without the line = %d", n)
	}
}

func TestHardware(t *testing.T) {
	h, err := Options{}.hardware()
	if err != nil {
		t.Fatal(err)
	}
	if h.cpus < 1 || h.cpus > maxCPUs || h.memory < minMemory || h.memory > maxMemory || h.memory%(1<<20) != 0 {
		t.Errorf("hardware by default = %+v", h)
	}
	if h, err = (Options{Accel: TCG}).hardware(); err != nil || h.cpus != 1 {
		t.Errorf("hardware with TCG = %+v, %v, want one CPU", h, err)
	}
	if h, err = (Options{CPUs: 3, Memory: 1<<30 + 5, Accel: TCG}).hardware(); err != nil || h.cpus != 3 || h.memory != 1<<30 {
		t.Errorf("hardware = %+v, %v", h, err)
	}
	for _, o := range []Options{{CPUs: -1}, {CPUs: 256}, {Memory: 1 << 20}, {Accel: "xen"}, {Append: strings.Repeat("x", maxAppend+1)}} {
		if _, err := o.hardware(); err == nil {
			t.Errorf("hardware of %+v: no error", o)
		}
	}
}

func TestArguments(t *testing.T) {
	h := hardware{accel: TCG, cpus: 2, memory: 1 << 30, kernel: "/k", tsc: 2_300_003, root: true}
	args := h.arguments()
	value := func(flag string) string {
		i := slices.Index(args, flag)
		if i < 0 || i+1 == len(args) {
			t.Fatalf("no %s in %q", flag, args)
		}
		return args[i+1]
	}
	for flag, want := range map[string]string{
		"-accel": "tcg,thread=single", "-cpu": "max", "-smp": "2", "-m": "1024M", "-kernel": "/k", "-nic": "none",
	} {
		if got := value(flag); got != want {
			t.Errorf("%s %q, want %q", flag, got, want)
		}
	}
	if line := value("-append"); !strings.Contains(line, "tsc_early_khz=2300003") {
		t.Errorf("command line %q does not tell the counter's frequency", line)
	}
	// The one export that the lab's root is made of cannot be written to.
	for i, arg := range args {
		if args[max(i-1, 0)] == "-fsdev" && strings.Contains(arg, "id=root") && !strings.Contains(arg, "readonly=on") {
			t.Errorf("-fsdev %s is writable", arg)
		}
	}
	h.accel, h.root = KVM, false
	args = h.arguments()
	if got := value("-cpu"); got != "host" {
		t.Errorf("-cpu %q with KVM, want host", got)
	}
	if line := value("-append"); strings.Contains(line, "tsc") {
		t.Errorf("command line %q with KVM, which has a clock of its own", line)
	}
	if strings.Contains(strings.Join(args, " "), "passthrough") {
		t.Errorf("a user other than root cannot give files away: %q", args)
	}
}

// What is added to the command line comes last, where it has the last word; and the whole is no longer than Linux reads.
func TestAppend(t *testing.T) {
	h, err := Options{Accel: TCG, Append: "security=selinux" + strings.Repeat(" x", (maxAppend-16)/2)}.hardware()
	if err != nil {
		t.Fatal(err)
	}
	h.tsc = 10_000_000
	const limit = 2047 // COMMAND_LINE_SIZE - 1
	if line := h.commandLine(); !strings.HasSuffix(line, " no_timer_check "+h.words) || len(line) > limit {
		t.Errorf("command line %q, %d bytes", line, len(line))
	}
}

func TestNoQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := findQEMU(); !errors.Is(err, ErrNoQEMU) || !strings.Contains(err.Error(), "apt-get install qemu-system-x86") {
		t.Errorf("findQEMU = %v, want the package's name", err)
	}
}

func TestBinds(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "real", "file"), "")
	if err := os.Symlink("real", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	cover := agent.Bind{Source: coverRoot, Target: shareRoot}
	real := filepath.Join(folder, "real")
	for _, test := range []struct {
		shares []string
		want   []agent.Bind
	}{
		{nil, []agent.Bind{cover}},
		{[]string{real}, []agent.Bind{{Source: shareRoot + real, Target: real}, cover}},
		{[]string{filepath.Join(folder, "link", "file")}, []agent.Bind{{Source: shareRoot + real + "/file", Target: real + "/file"}, cover}},
	} {
		got, err := binds(test.shares)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("binds(%q) = %v, %v, want %v", test.shares, got, err, test.want)
		}
	}
	for _, share := range []string{filepath.Join(folder, "nowhere"), "/"} {
		if _, err := binds([]string{share}); err == nil || !strings.Contains(err.Error(), share) {
			t.Errorf("binds(%q) = %v, want an error that names it", share, err)
		}
	}
}

func TestEnviron(t *testing.T) {
	got := Environ([]string{
		"PATH=/bin", "HOME=/root", "GOFLAGS=-v", "GO111MODULE=on", "TANDEM_BIN=x=y", "LC_ALL=C", "TERM=vt100",
		"SECRET=1", "LD_PRELOAD=x", "HOMEX=1", "MYGO=1", "", "=", "TANDEM",
	})
	want := []string{"PATH=/bin", "HOME=/root", "GOFLAGS=-v", "GO111MODULE=on", "TANDEM_BIN=x=y", "LC_ALL=C", "TERM=vt100"}
	if !slices.Equal(got, want) {
		t.Errorf("Environ = %q, want %q", got, want)
	}
}

func TestConsole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	c, err := newConsole(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.String(); got != " nothing" {
		t.Errorf("tail of nothing = %q", got)
	}
	chunk := bytes.Repeat([]byte("the kernel says this again and again\r\n"), 1000)
	for written := 0; written < 2*maxConsole; written += len(chunk) {
		if n, err := c.Write(chunk); n != len(chunk) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if _, err := c.Write([]byte("\x1b[2Jlast\u009bwords\n\n")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxConsole {
		t.Errorf("the log has %d bytes, %v, want at most %d", info.Size(), err, maxConsole)
	}
	text := c.String()
	if !strings.HasSuffix(text, "\n  [2Jlastwords") {
		t.Errorf("tail = %q, want it to end in what was said last, without control characters", text)
	}
	if lines := strings.Count(text, "\n"); lines != tailLines {
		t.Errorf("tail has %d lines, want %d", lines, tailLines)
	}
	if _, err := c.Write([]byte("[1.0] Kernel panic - not syncing\n" + strings.Repeat("trace\n", 2*tailLines))); err != nil {
		t.Fatal(err)
	}
	if text := c.String(); !strings.HasPrefix(text, "\n  [1.0] Kernel panic") || strings.Count(text, "\n") != tailLines {
		t.Errorf("tail = %q, want %d lines from the panic on", text, tailLines)
	}
}
