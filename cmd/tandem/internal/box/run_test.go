package box_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/container/image"
)

func TestRunStatuses(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		command []string
		status  int
		stderr  string
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"sh", "-c", "echo oops >&2; exit 7"}, 7, "oops\n"},
		{[]string{"sh", "-c", "kill -KILL $$"}, 0, ""}, // the first process is safe from its own signals: pid_namespaces(7)
		{[]string{"sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"}, 128 + 11, "Segmentation fault\n"},
		{[]string{"no-such-thing"}, 127, "not found"},
		{[]string{"/etc/passwd"}, 126, "permission denied"},
		{[]string{"/etc"}, 126, "permission denied"},
	} {
		got := b.run(nil, test.command...)
		if got.status != test.status || !strings.Contains(got.stderr, test.stderr) || test.stderr == "" && got.stderr != "" {
			t.Errorf("run %q: status %d, %q; want %d, %q", test.command, got.status, got.stderr, test.status, test.stderr)
		}
	}
	b.empty()
}

// TestRunFlags has one container say what it finds of each flag.
func TestRunFlags(t *testing.T) {
	b := newBench(t)
	shared := t.TempDir()
	b.check(os.WriteFile(filepath.Join(shared, "file"), []byte("shared\n"), 0o644))
	envFile := filepath.Join(shared, "env")
	b.check(os.WriteFile(envFile, []byte("# no\nFROM_FILE=1 2\n\n"), 0o644))
	t.Setenv("FROM_HERE", "here")
	for _, test := range []struct {
		flags  []string
		script string
		want   string
	}{
		{nil, "hostname | grep -c '^[0-9a-f]\\{12\\}$'; pwd; id -u; echo $PATH", "1\n/\n0\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"},
		{[]string{"--hostname", "hh", "-w", "/tmp", "-u", "u"}, "hostname; pwd; id; echo $HOME", "hh\n/tmp\nuid=1000(u) gid=1001(ug) groups=7(more)\n/home/u\n"},
		{[]string{"-u", "5:more"}, "id -u; id -g", "5\n7\n"},
		{[]string{"-e", "A=b c", "-e", "FROM_HERE", "-e", "NOT_THERE", "--env-file", envFile}, `echo "$A,$FROM_HERE,$FROM_FILE,$NOT_THERE,"`, "b c,here,1 2,,\n"},
		{[]string{"-v", shared + ":/s:ro"}, "cat /s/file; touch /s/x 2>/dev/null || echo refused", "shared\nrefused\n"},
		{[]string{"--mount", "type=bind,src=" + shared + ",dst=/deep/s"}, "echo more >> /deep/s/file; cat /deep/s/file", "shared\nmore\n"},
		{[]string{"--read-only", "--tmpfs", "/x:size=1m,mode=1777"}, "touch /y 2>/dev/null || echo refused; touch /x/y && df -k /x | tail -1 | { read a size b; echo $size; }", "refused\n1024\n"},
		{nil, "touch /etc/new; mkdir /made; ls -d /etc/new /made", "/etc/new\n/made\n"},
		{nil, "grep -E '^(CapEff|CapInh|NoNewPrivs|Seccomp):' /proc/self/status", "CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n"},
		{
			[]string{"--cap-drop", "all", "--cap-add", "chown", "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"},
			"grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status", "CapEff:\t0000000000000001\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t0\n",
		},
		{[]string{"--ulimit", "nofile=100:200"}, "ulimit -Sn; ulimit -Hn", "100\n200\n"},
		{[]string{"--device", "/dev/null:/dev/nil"}, "echo x > /dev/nil && ls /dev/nil", "/dev/nil\n"},
		{[]string{"--dns", "192.0.2.1", "--add-host", "other:192.0.2.2"}, "grep ^nameserver /etc/resolv.conf; grep other /etc/hosts", "nameserver 192.0.2.1\n192.0.2.2\tother\n"},
		{[]string{"--entrypoint", "echo"}, "", "-c \n"},
		{nil, "cat /proc/kcore | wc -c 2>/dev/null; ls /sys/firmware", "0\n"},
	} {
		command := []string{"sh", "-c", test.script}
		if test.script == "" {
			command = []string{"-c", ""}
		}
		if got := b.run(test.flags, command...); got.stdout != test.want {
			t.Errorf("run %q %q: %q, want %q; status %d, %s", test.flags, test.script, got.stdout, test.want, got.status, got.stderr)
		}
	}
	for _, name := range []string{"etc/new", "made"} {
		if _, err := os.Lstat(filepath.Join(b.root, name)); err == nil {
			t.Errorf("/%s was written to the folder below the container", name)
		}
	}
	b.empty()
}

func TestRunLimits(t *testing.T) {
	b := newBench(t)
	group := "/sys/fs/cgroup/"
	got := b.run([]string{"-m", "64M", "--cpus", "0.5", "--pids-limit", "50"}, "sh", "-c",
		"cd "+group+"; cat memory.max memory/memory.limit_in_bytes pids.max pids/pids.max cpu.max cpu/cpu.cfs_quota_us 2>/dev/null")
	if words := strings.Fields(got.stdout); len(words) < 3 || words[0] != "67108864" || words[1] != "50" || words[2] != "50000" {
		t.Errorf("limits %q, want 67108864, 50, 50000; status %d, %s", got.stdout, got.status, got.stderr)
	}
	got = b.run([]string{"-m", "16M", "--tmpfs", "/big"}, "dd", "if=/dev/zero", "of=/big/x", "bs=1M", "count=64")
	if got.status != 137 || !strings.Contains(got.stderr, "out of memory") {
		t.Errorf("64 MiB with a limit of 16: status %d, %q, want 137, and why", got.status, got.stderr)
	}
	b.empty()
}

func TestRunRefuses(t *testing.T) {
	b := newBench(t)
	taken := filepath.Join(t.TempDir(), "cid")
	b.check(os.WriteFile(taken, nil, 0o600))
	for _, test := range []struct{ flags, want string }{
		{"--name -x", `name "-x"`},
		{"-v /nowhere:/x", "/nowhere"},
		{"-v /tmp:x", `target "x"`},
		{"-v /tmp", "SOURCE:TARGET"},
		{"--mount type=volume,src=a,dst=/b", "volume"},
		{"--tmpfs /", "not the root"},
		{"-m 1", "--memory"},
		{"-m lots", "lots"},
		{"--cpus -1", "--cpus"},
		{"-u nobody-there", "nobody-there"},
		{"--cap-add FLY", "FLY"},
		{"--security-opt seccomp=/nowhere", "/nowhere"},
		{"--security-opt apparmor=x", "AppArmor"}, // not there, or not loaded
		{"--security-opt apparmor=", "apparmor=PROFILE"},
		{"--security-opt label=disable", "SELinux"},
		{"--restart always --rm", "--rm"},
		{"--restart sometimes -d", "on-failure"},
		{"--restart always:3 -d", "on-failure"},
		{"--memory-swap 1G", "--memory"},
		{"-m 64M --memory-swap 32M", "--memory-swap"},
		{"-m 64M --memory-swap lots", "lots"},
		{"-m 64M --memory-reservation 65M", "--memory-reservation"},
		{"--cpuset-cpus all", "--cpuset-cpus"},
		{"--cpu-shares 1", "--cpu-shares"},
		{"--blkio-weight 5", "--blkio-weight"},
		{"--oom-score-adj 2000", "--oom-score-adj"},
		{"--pid mine", "--pid"},
		{"--uts container:x1", "--uts"},
		{"--uts host --hostname x", "--hostname"},
		{"--pid container:nobody", "nobody"},
		{"--net bridge -p 80:80:80:80", "80:80:80:80"},
		{"--net none -p 80", "bridge"},
		{"--net container:nobody", "nobody"},
		{"--device /etc/passwd", "no device"},
		{"--ulimit nofile=2:1", "above"},
		{"--ulimit flights=1", "flights"},
		{"--cidfile " + taken, "cidfile"},
		{"-w rel", "--workdir"},
		{"-e =x", "--env"},
		{"--no-such-flag", "--help"},
	} {
		got := b.run(strings.Fields(test.flags), "true")
		if got.status != 125 || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
			t.Errorf("run %s: status %d, %q, want 125 and %q", test.flags, got.status, got.stderr, test.want)
		}
	}
	b.empty()
}

// TestRunImage runs what an image says, and keeps the image from being removed meanwhile.
func TestRunImage(t *testing.T) {
	b := newBench(t)
	store, err := b.home.Images()
	b.check(err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	b.check(w.AddFS(os.DirFS(b.root)))
	b.check(w.Close())
	_, err = store.Import(t.Context(), &archive, image.ImportOptions{Name: "box:1", Config: ocispec.ImageConfig{
		User: "u", Env: []string{"A=image", "B=image"}, Entrypoint: []string{"sh", "-c"}, Cmd: []string{"id -u; echo $A $B; pwd"}, WorkingDir: "/tmp",
	}})
	b.check(err)
	if got := b.tandem("run", "--rm", "--net", "none", "-e", "B=mine", "box:1"); got.stdout != "1000\nimage mine\n/tmp\n" {
		t.Errorf("the image's own command: %+v", got)
	}
	if got := b.tandem("run", "--rm", "--net", "none", "--entrypoint", "", "-u", "0", "box:1", "id", "-u"); got.stdout != "0\n" {
		t.Errorf("a command and a user of ours: %+v", got)
	}
	if got := b.tandem("run", "--pull", "never", "absent:1", "true"); got.status != 125 || !strings.Contains(got.stderr, "absent:1") {
		t.Errorf("an image that is not there: %+v", got)
	}
	b.must("run", "-d", "--net", "none", "--name", "holder", "box:1", "sleep 1000")
	if _, err := store.Remove("box:1", false); err == nil {
		t.Error("an image that a container runs from was removed")
	}
	b.must("rm", "-f", "holder")
	_, err = store.Remove("box:1", false)
	b.check(err)
	b.empty()
}

func TestExplain(t *testing.T) {
	b := newBench(t)
	text := b.must("explain", "run", "--net", "none", "--rootfs", b.root, "-m", "64M", "--hostname", "hh", "--", "echo", "hello")
	for _, want := range []string{"upper", "clone3", "sethostname hh", "execve echo", "67108864"} {
		if !strings.Contains(text, want) {
			t.Errorf("explain: no %q in %.400s...", want, text)
		}
	}
	plans := decode[[]struct{ Steps []struct{ Op, Why string } }](t, b.must("explain", "run", "--json", "--net", "none", "--rootfs", b.root, "true"))
	if len(plans) != 2 || len(plans[1].Steps) < 50 {
		t.Errorf("explain --json: %d plans", len(plans))
	}
	got := b.run([]string{"--trace"}, "echo", "hello")
	if got.stdout != "hello\n" || !strings.Contains(got.stderr, "clone3") || !strings.Contains(got.stderr, "us  ") {
		t.Errorf("run --trace: %+v", got)
	}
	b.empty()
}

// TestRunBrokenPipe has the reader of a trace go away in the middle: the container is made to its end, and removed.
func TestRunBrokenPipe(t *testing.T) {
	b := newBench(t)
	cmd := b.command(b.arguments([]string{"--rm", "--trace"}, []string{"sh", "-c", "exit 3"})...)
	r, w, err := os.Pipe()
	b.check(err)
	cmd.Stderr = w
	b.check(cmd.Start())
	w.Close()
	_, err = r.Read(make([]byte, 1))
	b.check(err)
	r.Close()
	_ = cmd.Wait() // the status is looked at
	if status := cmd.ProcessState.ExitCode(); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
	b.empty()
}
