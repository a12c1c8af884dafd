package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot"
	"tandem/boot/store"
	"tandem/internal/testenv"
)

// guestLimit is how long one guest may take. The slowest KVM that these tests run on is the lab's.
const guestLimit = 5 * time.Minute

// vmRunCommand is the tandem executable itself: it becomes the guest's init.
func vmRunCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guestLimit)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, testenv.Tandem(t), append([]string{"vm", "run"}, args...)...)
}

// ended is what a run of tandem left.
type ended struct {
	status         int
	stdout, stderr string
}

func finish(t *testing.T, cmd *exec.Cmd) ended {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return ended{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// runOnKVM runs a guest on this machine's KVM.
func runOnKVM(t *testing.T, args ...string) ended {
	t.Helper()
	return finish(t, vmRunCommand(t, append([]string{"--accel", "kvm"}, args...)...))
}

func needGuests(t *testing.T) {
	t.Helper()
	testenv.Need(t, testenv.KVMLinux, testenv.GuestKernel, testenv.Busybox)
}

func tempFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVMRunCommand sees all that a command is given, and all that it gives back.
func TestVMRunCommand(t *testing.T) {
	needGuests(t)
	added := tempFile(t, "added", "from the host\n")
	console := filepath.Join(t.TempDir(), "console")
	traced := filepath.Join(t.TempDir(), "trace")
	cmd := vmRunCommand(t, "--accel", "kvm", "--cpus", "4", "--memory", "5G", "--name", "guest-of-mine",
		"--env", "GREETING=hello there", "--add", added+":/srv/data", "--console", console,
		"--trace", "kvm", "--trace-file", traced,
		"--", "sh", "-c", `
			echo "cpus $(nproc)"
			awk '/MemTotal/ {print "memory", int($2 / 1048576 + 0.5)}' /proc/meminfo
			echo "name $(hostname)"; echo "greeting $GREETING"; echo "added $(cat /srv/data)"
			echo "stdin $(cat)"; echo "to stderr" >&2
			exit 7`)
	cmd.Stdin = strings.NewReader("from a pipe")
	got := finish(t, cmd)
	want := "cpus 4\nmemory 5\nname guest-of-mine\ngreeting hello there\nadded from the host\nstdin from a pipe\n"
	if got.status != 7 || got.stdout != want || got.stderr != "to stderr\n" {
		t.Errorf("tandem vm run = %+v, want status 7, stdout %q, stderr \"to stderr\\n\"", got, want)
		log, _ := os.ReadFile(console)
		t.Logf("console:\n%s", log)
	}
	for path, want := range map[string]string{console: "Linux version", traced: "KVM_SET_CPUID2"} {
		if text, err := os.ReadFile(path); err != nil || !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s: %v, and it has no %q: %.300q", filepath.Base(path), err, want, text)
		}
	}
}

// TestVMRunDisk writes to a disk in one guest and reads it in the next, which finds it on the other transport.
func TestVMRunDisk(t *testing.T) {
	needGuests(t)
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := runOnKVM(t, "--transport", "mmio", "--disk", image, "--", "sh", "-c",
		"printf 'kept for you' | dd of=/dev/vda bs=4k seek=3 conv=sync,fsync 2>/dev/null; ls /sys/bus/platform/drivers/virtio-mmio | grep LNRO")
	if wrote.status != 0 {
		t.Fatalf("write: %+v", wrote)
	}
	read := runOnKVM(t, "--transport", "pci", "--disk", image+",ro,serial=mine", "--", "sh", "-c",
		"dd if=/dev/vda bs=4k skip=3 count=1 2>/dev/null | head -c 12; echo; cat /sys/block/vda/serial /sys/block/vda/ro; echo; echo x 2>/dev/null >/dev/vda || echo refused")
	if want := "kept for you\nmine"; read.status != 0 || !strings.HasPrefix(read.stdout, want) ||
		!strings.HasSuffix(read.stdout, "1\n\nrefused\n") {
		t.Errorf("read: %+v, want stdout to begin with %q and the disk to be read-only", read, want)
	}
}

func TestVMRunProtocols(t *testing.T) {
	needGuests(t)
	for _, protocol := range []string{"linux64", "decompressor", "pvh"} {
		t.Run(protocol, func(t *testing.T) {
			got := runOnKVM(t, "--protocol", protocol, "--", "echo", "here")
			if got.status != 0 || got.stdout != "here\n" {
				t.Errorf("tandem vm run --protocol %s = %+v, want status 0 and \"here\\n\"", protocol, got)
			}
		})
	}
}

// TestVMRunEndings tells the ways apart in which a guest ends.
func TestVMRunEndings(t *testing.T) {
	needGuests(t)
	for _, test := range []struct {
		name    string
		args    []string
		status  int
		ending  string
		problem string
	}{
		{"power-off", []string{"--", "poweroff"}, 0, "power-off", ""},
		{"reboot", []string{"--", "reboot"}, 120, "reboot", ""},
		{"panic", []string{"--", "sh", "-c", "echo c >/proc/sysrq-trigger"}, 121, "panic", ""},
		{"time is over", []string{"--timeout", "200ms", "--", "true"}, 130, "stopped", ""},
		{"not found", []string{"--", "frobnicate"}, 127, "power-off", "frobnicate"},
		{"not executable", []string{"--", "/proc/version"}, 126, "power-off", "/proc/version"},
		{"killed", []string{"--", "sh", "-c", "kill -9 $$"}, 137, "power-off", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := runOnKVM(t, append([]string{"--json"}, test.args...)...)
			var report struct {
				Ending, Problem string
				Status          int
			}
			if err := json.Unmarshal([]byte(got.stderr), &report); err != nil {
				t.Fatalf("status %d, stderr %q: %v", got.status, got.stderr, err)
			}
			if got.status != test.status || report.Status != test.status || report.Ending != test.ending ||
				!strings.Contains(report.Problem, test.problem) {
				t.Errorf("status %d, %+v, want %d, %s", got.status, report, test.status, test.ending)
			}
		})
	}
}

// TestVMRunPanicShowsConsole wants the end of a console that went nowhere, for a guest that ended badly.
func TestVMRunPanicShowsConsole(t *testing.T) {
	needGuests(t)
	got := runOnKVM(t, "--initrd", "none", "--append", "root=/dev/nowhere", "--console", "none")
	if got.status != 121 || !strings.Contains(got.stderr, "panic") || !strings.Contains(got.stderr, "Unable to mount root fs") {
		t.Errorf("a guest without a root = %+v, want status 121 and the kernel's words", got)
	}
}

// TestVMRunScript has a shell in the guest read its commands from standard input.
func TestVMRunScript(t *testing.T) {
	needGuests(t)
	cmd := vmRunCommand(t, "--accel", "kvm")
	cmd.Stdin = strings.NewReader("echo $((6 * 7))\nexit 5\n")
	if got := finish(t, cmd); got.status != 5 || got.stdout != "42\n" {
		t.Errorf("tandem vm run <script = %+v, want status 5 and 42", got)
	}
}

func TestVMRunPassesSignals(t *testing.T) {
	needGuests(t)
	cmd := vmRunCommand(t, "--accel", "kvm", "--", "sh", "-c", `trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 1; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(out, ready); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the status is looked at
	if status := cmd.ProcessState.ExitCode(); status != 3 || string(rest) != "caught\n" {
		t.Errorf("status %d, then %q, want 3 and \"caught\\n\"", status, rest)
	}
}

// TestVMRunVmlinux boots an uncompressed kernel as a file of its own, with the modules named beside it.
func TestVMRunVmlinux(t *testing.T) {
	needGuests(t)
	vmlinux, modules := unpackedKernel(t)
	got := runOnKVM(t, "--kernel", vmlinux, "--modules", modules, "--", "echo", "here")
	if got.status != 0 || got.stdout != "here\n" {
		t.Errorf("tandem vm run --kernel vmlinux = %+v", got)
	}
}

// TestVMRunInLab runs a guest in the lab of this host, where the disk and the log are this host's files.
func TestVMRunInLab(t *testing.T) {
	testenv.Need(t, testenv.Lab, testenv.GuestKernel, testenv.Busybox)
	t.Setenv("TANDEM_LAB_DIR", filepath.Join(t.TempDir(), "lab"))
	t.Cleanup(func() {
		if out, err := exec.Command(testenv.Tandem(t), "lab", "down").CombinedOutput(); err != nil {
			t.Errorf("tandem lab down: %v\n%s", err, out)
		}
	})
	disk := tempFile(t, "disk.img", "host"+strings.Repeat("\x00", 4092))
	console := filepath.Join(t.TempDir(), "console")
	cmd := vmRunCommand(t, "--accel", "lab", "--disk", disk, "--console", console, "--", "sh", "-c",
		`head -c 4 /dev/vda; echo; cat; printf guest | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null; echo err >&2; exit 9`)
	cmd.Stdin = strings.NewReader("stdin")
	got := finish(t, cmd)
	if got.status != 9 || got.stdout != "host\nstdin" || got.stderr != "err\n" {
		t.Errorf("tandem vm run --accel lab = %+v, want status 9", got)
	}
	if text, err := os.ReadFile(disk); err != nil || !bytes.HasPrefix(text, []byte("guest")) {
		t.Errorf("the host's disk begins %.5q, %v, want \"guest\"", text, err)
	}
	log, err := os.ReadFile(console)
	if err != nil || !bytes.Contains(log, []byte("Linux version")) {
		t.Errorf("the host's console log begins %.100q, %v", log, err)
	}
	if t.Failed() {
		t.Logf("console:\n%s", log)
	}
}

// TestExplainVMRun needs no KVM and no root: it prints, and does nothing.
func TestExplainVMRun(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel)
	disk := tempFile(t, "disk.img", strings.Repeat("\x00", 4096))
	args := []string{"explain", "vm", "run", "--cpus", "3", "--disk", disk, "--", "true"}
	text := finish(t, exec.Command(testenv.Tandem(t), args...))
	for _, want := range []string{"KVM_CREATE_VM", "KVM_SET_USER_MEMORY_REGION", "vcpu 2", disk} {
		if text.status != 0 || !strings.Contains(text.stdout, want) {
			t.Errorf("explain: status %d, no %q in:\n%s%s", text.status, want, text.stdout, text.stderr)
		}
	}
	asJSON := finish(t, exec.Command(testenv.Tandem(t), append([]string{"explain", "vm", "run", "--json"}, args[3:]...)...))
	var plan struct{ Steps []struct{ Op, Why string } }
	if err := json.Unmarshal([]byte(asJSON.stdout), &plan); err != nil || len(plan.Steps) < 20 {
		t.Fatalf("explain --json: %d steps, %v", len(plan.Steps), err)
	}
	if n := strconv.Itoa(len(plan.Steps)); !strings.Contains(text.stdout, "("+n+" steps)") {
		t.Errorf("the text does not speak of %s steps, as the JSON does", n)
	}
	for i, s := range plan.Steps {
		if s.Op == "" || s.Why == "" {
			t.Errorf("step %d: %+v has no name or no reason", i+1, s)
		}
	}
}

// unpackedKernel gives the default guest kernel as an ELF file, and its modules.
func unpackedKernel(t *testing.T) (vmlinux, modules string) {
	t.Helper()
	s, err := store.Open("")
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Get(store.GuestPackage)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := boot.Open(k.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	cache := t.TempDir()
	unpacked, err := boot.Unpack(packed, cache)
	if err != nil {
		t.Fatal(err)
	}
	unpacked.Close()
	files, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if elf, err := boot.Open(file); err == nil {
			elf.Close()
			return file, k.Modules
		}
	}
	t.Fatalf("no kernel among %q", files)
	return "", ""
}
