package guestinit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/boot/initramfs"
	"tandem/guest/agent"
	"tandem/guest/config"
)

// What the kernel says as it ends (kernel/reboot.c).
const (
	poweredOff = "reboot: Power down"
	rebooted   = "reboot: Restarting system"
)

const portName = "tandem.agent"

// run runs a command in the guest and returns its output.
func run(t *testing.T, c *agent.Client, name string, args ...string) string {
	t.Helper()
	out, err := c.Command(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestGuestWithAgent(t *testing.T) {
	socket, args := virtioPort(t, portName)
	m := start(t, spec{
		config: config.Config{
			Hostname: "box",
			Env:      []string{"GREETING=hello", "TERM=dumb"},
			Agent:    &config.Agent{Port: portName},
			Mounts: []config.Mount{
				{Source: "tmpfs", Target: "/data", Type: "tmpfs", Options: "ro,noexec,size=1m"},
				{Source: "nothing", Target: "/none", Type: "nosuchfs", Optional: true},
			},
		},
		args: args,
	})
	c := m.connect(socket)

	t.Run("info", func(t *testing.T) {
		info, err := c.Info(t.Context())
		if err != nil || info.Hostname != "box" || info.Machine != "x86_64" || info.CPUs != 1 || info.Uptime <= 0 {
			t.Errorf("Info = %+v, %v", info, err)
		}
		if want := labKernel(t).Release; info.Kernel != want {
			t.Errorf("kernel %q, want %q", info.Kernel, want)
		}
	})
	t.Run("environment", func(t *testing.T) {
		if got, want := run(t, c, "sh", "-c", "echo $GREETING $TERM $HOME"), "hello dumb /root\n"; got != want {
			t.Errorf("environment %q, want %q", got, want)
		}
	})
	t.Run("mounts", func(t *testing.T) {
		mounts := run(t, c, "cat", "/proc/mounts")
		for _, want := range []string{
			"proc /proc proc ", "sysfs /sys sysfs ", "devtmpfs /dev devtmpfs ", "devpts /dev/pts devpts ", "tmpfs /dev/shm tmpfs ",
			"tmpfs /run tmpfs ", "tmpfs /tmp tmpfs ", "cgroup2 /sys/fs/cgroup cgroup2 ", "tracefs /sys/kernel/tracing tracefs ",
			"bpf /sys/fs/bpf bpf ", "tmpfs /data tmpfs ro,noexec,relatime,size=1024k",
		} {
			if !strings.Contains(mounts, want) {
				t.Errorf("no mount %q in\n%s", want, mounts)
			}
		}
	})
	t.Run("network", func(t *testing.T) {
		if got := run(t, c, "ip", "addr", "show", "lo"); !strings.Contains(got, "127.0.0.1/8") || !strings.Contains(got, ",UP") {
			t.Errorf("lo: %s", got)
		}
		if got := run(t, c, "ping", "-c", "1", "box"); !strings.Contains(got, " 0% packet loss") {
			t.Errorf("ping box: %s", got)
		}
	})
	t.Run("orphans", func(t *testing.T) { testOrphans(t, c) })
	t.Run("pivot_root", func(t *testing.T) {
		// A container's first steps have to work on the initramfs, too.
		run(t, c, "unshare", "-m", "sh", "-ec", `
			mount -t tmpfs tmpfs /mnt
			mkdir /mnt/old /mnt/bin /mnt/proc
			cp /bin/busybox /mnt/bin/sh
			cd /mnt && pivot_root . old`)
	})
	t.Run("binds", func(t *testing.T) { testBinds(t, c) })
	t.Run("limits", func(t *testing.T) {
		cmd := c.Command(t.Context(), "sh", "-c", "cat /sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup)/*.max")
		cmd.Limits = agent.Limits{Memory: 64 << 20, Pids: 17}
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), "67108864\n") || !strings.Contains(string(out), "17\n") {
			t.Errorf("limits %q, %v", out, err)
		}
	})
	t.Run("another client", func(t *testing.T) {
		// The old session's end kills what it has left running.
		cmd := c.Command(context.Background(), "sh", "-c", "setsid sleep 1000 & exec sleep 2000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.Close()
		c = m.connect(socket)
		if out := run(t, c, "ps"); strings.Contains(out, "sleep") {
			t.Errorf("left running:\n%s", out)
		}
		if out := run(t, c, "ls", "/sys/fs/cgroup/tandem"); strings.Contains(out, "client-1\n") {
			t.Errorf("left cgroups:\n%s", out)
		}
	})
	if err := c.PowerOff(t.Context()); err != nil {
		t.Error(err)
	}
	m.waitEnd()
	m.expect(poweredOff)
}

// testOrphans leaves processes to pid 1 while it waits for others of its own.
func testOrphans(t *testing.T, c *agent.Client) {
	// Each command's exit status must be its own although pid 1 reaps in between.
	for i := range 20 {
		script := fmt.Sprintf("for i in 1 2 3 4 5; do (true & true &) ; done; exit %d", i)
		err := c.Command(t.Context(), "sh", "-c", script).Run()
		if got := agent.ExitStatus(err); got != i {
			t.Errorf("status %d (%v), want %d", got, err, i)
		}
	}
	// An orphan that ends while its command still looks: it must go.
	script := `
		child=$(sh -c 'sleep 0.2 & echo $!')
		for i in $(seq 100); do
			[ -e /proc/$child ] || exit 0
			sleep 0.1
		done
		cat /proc/$child/status; exit 1`
	run(t, c, "sh", "-c", script)
}

// testBinds shows a folder elsewhere to one command only.
func testBinds(t *testing.T, c *agent.Client) {
	run(t, c, "sh", "-c", "mkdir -p /tmp/source && echo inside > /tmp/source/file")
	for _, readOnly := range []bool{false, true} {
		cmd := c.Command(t.Context(), "sh", "-c", "cat /deep/target/file; echo new > /deep/target/new")
		cmd.Binds = []agent.Bind{{Source: "/tmp/source", Target: "/deep/target", ReadOnly: readOnly}}
		out, err := cmd.CombinedOutput()
		if !strings.HasPrefix(string(out), "inside\n") || (err != nil) != readOnly {
			t.Errorf("read-only %v: %q, %v", readOnly, out, err)
		}
	}
	if out := run(t, c, "ls", "/deep/target"); out != "" {
		t.Errorf("another command sees %q", out)
	}
	if got := run(t, c, "cat", "/tmp/source/new"); got != "new\n" {
		t.Errorf("written through the bind mount: %q", got)
	}
	if got := run(t, c, "sh", "-c", "[ $(readlink /proc/1/ns/mnt) = $(readlink /proc/self/ns/mnt) ] && echo same"); got != "same\n" {
		t.Error("pid 1 shows a mount namespace other than its commands'")
	}
}

func TestAgentOverSerialLine(t *testing.T) {
	socket, args := serialPort(t)
	m := start(t, spec{config: config.Config{Agent: &config.Agent{Port: "/dev/ttyS1", OnDisconnect: config.PowerOff}}, args: args})
	c := m.connect(socket)
	sent := make([]byte, 64<<10)
	rand.Read(sent)
	var received bytes.Buffer
	cmd := c.Command(t.Context(), "sh", "-c", "tee /tmp/copy; sha256sum /tmp/copy >&2")
	cmd.Stdin, cmd.Stdout = bytes.NewReader(sent), &received
	var sum bytes.Buffer
	cmd.Stderr = &sum
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(received.Bytes(), sent) {
		t.Errorf("%d bytes came back of %d, or others", received.Len(), len(sent))
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(sent)); !strings.HasPrefix(sum.String(), want) {
		t.Errorf("guest's sum %s, want %s", sum.String(), want)
	}
	if err := c.Reboot(t.Context()); err != nil {
		t.Error(err)
	}
	m.waitEnd()
	m.expect(rebooted)
}

func TestConsoleShell(t *testing.T) {
	m := start(t, spec{config: config.Config{Console: &config.Console{Command: []string{"sh"}, Rows: 44, Cols: 99}}})
	m.expect("# ")
	m.say("echo $((6*7)) $(tty) $(stty size)\n")
	m.expect("42 /dev/ttyS0 44 99")
	// Ctrl-C reaches the job and not the shell: that takes a controlling terminal and process groups.
	m.say("sh -c 'echo now running; exec sleep 1000'\n")
	m.expect("now running\r\n")
	m.say("\x03")
	m.say("echo still $((1+1))\n")
	m.expect("still 2")
	m.say("exit\n")
	m.waitEnd()
	m.expect(poweredOff)
}

// TestLastWords has a program end right after it has written much to a line that is slow to send it.
func TestLastWords(t *testing.T) {
	const size = 64 << 10
	for _, script := range []string{
		"tr '\\0' . </dev/zero | head -c 65530; echo LAST",
		// Its last words are another's, who is in the background.
		"set -m; (head -c 65530 /dev/zero | tr '\\0' .; echo LAST) & wait",
	} {
		t.Run(script, func(t *testing.T) {
			m := start(t, spec{
				config: config.Config{Console: &config.Console{Command: []string{"sh", "-c", "stty -opost; echo FIRST; " + script}}},
				slow:   true,
			})
			m.waitEnd()
			m.expect(poweredOff)
			_, words, _ := strings.Cut(m.console.String(), "FIRST\n")
			words, _, found := strings.Cut(words, "LAST\n")
			if got := strings.Count(words, "."); !found || got != size-6 {
				t.Errorf("%d bytes have come of %d, the last words %v", got, size-6, found)
			}
		})
	}
}

// TestEnd ends the machine in each way that a guest may try.
func TestEnd(t *testing.T) {
	for _, test := range []struct {
		name, script, want string
	}{
		{"poweroff", "poweroff; sleep 1000", poweredOff},
		{"reboot", "reboot; sleep 1000", rebooted},
		// What would end a Go program ends nothing here, and nor does a shell that ignores what it is asked.
		{"stubborn", "trap '' TERM HUP; for s in HUP QUIT PIPE ALRM ABRT XCPU; do kill -$s 1; done; halt; sleep 1000", poweredOff},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := start(t, spec{config: config.Config{Console: &config.Console{Command: []string{"sh", "-c", test.script}}}})
			m.waitEnd()
			m.expect(test.want)
			if strings.Contains(m.console.String(), "Kernel panic") {
				t.Errorf("the kernel panicked")
			}
		})
	}
}

// TestTrouble has init tell what is wrong and power off: a kernel panic would hide it.
func TestTrouble(t *testing.T) {
	for _, test := range []struct {
		name string
		spec spec
		want []string
	}{
		{"config", spec{configText: []byte(`{"hostnam": "x"}`)}, []string{`unknown field "hostnam"`}},
		{
			"module and console",
			spec{
				config: config.Config{
					Modules: config.ModulesAt("/lib/no-such.ko", "/etc/bad.ko"),
					Console: &config.Console{Command: []string{"no-such-shell"}},
				},
				files: []initramfs.File{{Name: "/etc/bad.ko", Mode: 0o644, Data: []byte("not an ELF file")}},
			},
			[]string{
				"load module no_such (/lib/no-such.ko): no such file",
				"load module bad (/etc/bad.ko): not a module of this kernel",
				"no-such-shell: command not found",
			},
		},
		{"root", spec{config: config.Config{Root: &config.Root{Tag: "nothing", Options: "trans=virtio"}}}, []string{"mount nothing (9p)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := start(t, test.spec)
			m.waitEnd()
			for _, want := range append(test.want, poweredOff) {
				m.expect(want)
			}
		})
	}
}

// TestRootOverNineP goes to a root that the host exports, as the lab does.
func TestRootOverNineP(t *testing.T) {
	socket, args := virtioPort(t, portName)
	share := t.TempDir()
	const options = "trans=virtio,version=9p2000.L,msize=512000,cache=none"
	args = append(args,
		"-virtfs", "local,id=root,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
		"-virtfs", "local,id=share,path="+share+",mount_tag=share,security_model=none,multidevs=remap")
	m := start(t, spec{
		config: config.Config{
			Root:   &config.Root{Tag: "root", Options: options, UpperSize: "64m"},
			Mounts: []config.Mount{{Source: "share", Target: "/run/tandem/share", Type: "9p", Options: options}},
			Agent:  &config.Agent{Port: portName},
		},
		args: args,
	})
	c := m.connect(socket)

	// The host's files are there, /tmp among them, and writable; what is written stays in the guest.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := run(t, c, "sh", "-c", "cat "+file+"; echo guest > "+file+"; cat "+file); got != "host\nguest\n" {
		t.Errorf("guest sees %q", got)
	}
	if text, err := os.ReadFile(file); string(text) != "host\n" {
		t.Errorf("host's file is now %q, %v", text, err)
	}

	// A share comes back.
	cmd := c.Command(t.Context(), "sh", "-c", "echo from the guest > "+share+"/answer")
	cmd.Binds = []agent.Bind{{Source: "/run/tandem/share", Target: share}}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(share, "answer")); string(text) != "from the guest\n" {
		t.Errorf("the share holds %q, %v", text, err)
	}

	// A file that the host makes now is seen after dentries are dropped, even if its absence was seen.
	late := filepath.Join(filepath.Dir(file), "late")
	if err := c.Command(t.Context(), "cat", late).Run(); agent.ExitStatus(err) != 1 {
		t.Errorf("cat of a missing file: %v", err)
	}
	if err := os.WriteFile(late, []byte("late\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.DropCaches(t.Context(), agent.Dentries); err != nil {
		t.Error(err)
	}
	if got := run(t, c, "cat", late); got != "late\n" {
		t.Errorf("cat of a late file: %q", got)
	}

	// Nothing is left of the initramfs but this root.
	if got := run(t, c, "sh", "-c", "grep -c '^overlay / overlay ' /proc/mounts; ls -d /.lower /.writes /.root 2>/dev/null; true"); got != "1\n" {
		t.Errorf("root: %q\n%s", got, run(t, c, "cat", "/proc/mounts"))
	}
	if err := c.PowerOff(t.Context()); err != nil && !errors.Is(err, agent.ErrClosed) {
		t.Error(err)
	}
	m.waitEnd()
	m.expect(poweredOff)
}
