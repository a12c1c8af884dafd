package seccomp

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// permissive is a profile that lets everything through but for its rules.
func permissive(rules ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: allArchs, Syscalls: rules}
}

func on(name string, action specs.LinuxSeccompAction) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: action}
}

// TestKernelVerdicts has the kernel carry out each action.
func TestKernelVerdicts(t *testing.T) {
	getpriority := []uint64{unix.SYS_GETPRIORITY, 0, 0} // which Go does not call, and gives 20
	call := [][]uint64{getpriority}
	exited := func(status int) func(w syscall.WaitStatus) bool {
		return func(w syscall.WaitStatus) bool { return w.Exited() && w.ExitStatus() == status }
	}
	killed := func(w syscall.WaitStatus) bool { return w.Signaled() && w.Signal() == unix.SIGSYS }
	edom := on("getpriority", specs.ActErrno)
	edom.ErrnoRet = pointer(uint(unix.EDOM))
	for _, test := range []struct {
		name   string
		rule   specs.LinuxSyscall
		flags  []specs.LinuxSeccompFlag
		calls  [][]uint64
		thread string
		lines  []string
		status func(syscall.WaitStatus) bool
	}{
		{name: "allow", rule: on("getpriority", specs.ActAllow), calls: call, lines: []string{"20"}, status: exited(0)},
		{name: "log", rule: on("getpriority", specs.ActLog), calls: call, lines: []string{"20"}, status: exited(0)},
		{name: "errno", rule: edom, calls: call, lines: []string{"EDOM"}, status: exited(0)},
		{
			name: "trace without a tracer", rule: on("getpriority", specs.ActTrace), calls: call,
			lines: []string{"ENOSYS"}, status: exited(0),
		},
		{
			name: "trap", rule: on("getpriority", specs.ActTrap), calls: call,
			lines: []string{"SIGSYS: bad system call"}, status: exited(2),
		},
		{name: "kill process", rule: on("getpriority", specs.ActKillProcess), calls: call, status: killed},
		{
			name: "kill thread", rule: on("getpriority", specs.ActKill), calls: call, thread: "dying",
			lines: []string{"gone"}, status: exited(0),
		},
		{
			name: "all flags", rule: edom, calls: call, lines: []string{"EDOM"}, status: exited(0),
			flags: []specs.LinuxSeccompFlag{
				flagTSync, specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow,
				specs.LinuxSeccompFlagWaitKillableRecv,
			},
		},
		{name: "another thread", rule: edom, calls: call, thread: "other", lines: []string{"20"}, status: exited(0)},
		{
			name: "tsync", rule: edom, calls: call, thread: "other", lines: []string{"EDOM"}, status: exited(0),
			flags: []specs.LinuxSeccompFlag{flagTSync},
		},
		{
			name:  "arguments",
			calls: [][]uint64{getpriority, {unix.SYS_GETPRIORITY, 1, 0}, {unix.SYS_GETPRIORITY, 1 << 32, 0}},
			rule: specs.LinuxSyscall{
				Names: []string{"getpriority"}, Action: specs.ActErrno, ErrnoRet: pointer(uint(unix.EDOM)),
				Args: []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpGreaterThan, Value: 0}},
			},
			lines: []string{"20", "EDOM", "EDOM"}, status: exited(0),
		},
		{
			name: "x32", rule: edom, calls: [][]uint64{{unix.SYS_GETPRIORITY | x32Bit}},
			lines: []string{"EDOM"}, status: exited(0),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := permissive(test.rule)
			spec.Flags = test.flags
			o := order{Filter: compile(t, spec), Calls: test.calls, Thread: test.thread}
			lines, status := o.run(t)
			if len(lines) > len(test.lines) && test.name == "trap" {
				lines = lines[:1] // Go has more to say of it
			}
			if !slices.Equal(lines, test.lines) || !test.status(status) {
				t.Errorf("printed %q, status %#x; want %q", lines, status, test.lines)
			}
		})
	}
}

// TestKernelTakesLongPrograms loads programs up to the kernel's limit.
func TestKernelTakesLongPrograms(t *testing.T) {
	for _, n := range []int{100, 1000} {
		o := order{Filter: compile(t, manyRules(n)), Calls: [][]uint64{{unix.SYS_GETPRIORITY}}}
		o.Filter.Program = slices.Clone(o.Filter.Program)
		for i := range o.Filter.Program { // these profiles allow ioctl alone, and a Go program needs more
			if in := &o.Filter.Program[i]; in.Code == unix.BPF_RET && Action(in.K) != allow {
				in.K = uint32(unix.SECCOMP_RET_LOG)
			}
		}
		lines, status := o.run(t)
		if !slices.Equal(lines, []string{"20"}) || status != 0 {
			t.Errorf("%d instructions: printed %q, status %#x", len(o.Filter.Program), lines, status)
		}
	}
}

// TestKernelDefault runs programs under the default profile.
func TestKernelDefault(t *testing.T) {
	o := order{
		Filter: compile(t, defaultProfile(t, nil)),
		Calls: [][]uint64{
			{unix.SYS_MOUNT},
			{unix.SYS_UNSHARE, unix.CLONE_NEWUSER},
			{unix.SYS_CLONE3},
			{unix.SYS_KEYCTL, 0},
			{unix.SYS_GETPRIORITY, 0, 0},
			{unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0},
			{unix.SYS_PERSONALITY, 0xffffffff},
			{471},
			{9999},
			{unix.SYS_MOUNT | x32Bit},
		},
		Exec: []string{"/bin/sh", "-c", "echo $((40 + 2)) | cat; ls / >/dev/null && echo listed"},
	}
	lines, status := o.run(t)
	want := []string{
		"EPERM", "EPERM", "ENOSYS", "EPERM", "20", "EPERM", "0", "ENOSYS", "ENOSYS", "EPERM",
		"42", "listed",
	}
	if !slices.Equal(lines, want) || status != 0 {
		t.Errorf("printed %q, status %#x; want %q", lines, status, want)
	}
}

// TestKernelOldABI makes a call the way 32-bit programs do.
func TestKernelOldABI(t *testing.T) {
	testenv.Need(t, testenv.IA32, testenv.GCC)
	const source = `#include <stdio.h>
int main(void)
{
	int result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(96), "b"(0), "c"(0) : "memory", "r8", "r9", "r10", "r11");
	printf("%d\n", result);
	return 0;
}`
	path := filepath.Join(t.TempDir(), "int80")
	gcc := exec.Command("gcc", "-o", path, "-xc", "-")
	gcc.Stdin = strings.NewReader(source)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	edom := on("getpriority", specs.ActErrno)
	edom.ErrnoRet = pointer(uint(unix.EDOM))
	for _, test := range []struct {
		archs []specs.Arch
		rules []specs.LinuxSyscall
		lines []string
		kill  bool
	}{
		{allArchs, nil, []string{"20"}, false},
		{allArchs, []specs.LinuxSyscall{edom}, []string{fmt.Sprint(-int(unix.EDOM))}, false},
		{nil, nil, nil, true},
	} {
		spec := permissive(test.rules...)
		spec.Architectures = test.archs
		o := order{Filter: compile(t, spec), Exec: []string{path}}
		lines, status := o.run(t)
		killed := status.Signaled() && status.Signal() == unix.SIGSYS
		if !slices.Equal(lines, test.lines) || killed != test.kill {
			t.Errorf("%v, %v: printed %q, status %#x; want %q, killed %v",
				test.archs, test.rules, lines, status, test.lines, test.kill)
		}
	}
}

// TestKernelTrace is the tracer of a process whose filter asks for one.
func TestKernelTrace(t *testing.T) {
	const message = 0xbeef
	rule := on("getpriority", specs.ActTrace)
	rule.ErrnoRet = pointer(uint(message))
	o := order{Filter: compile(t, permissive(rule)), Calls: [][]uint64{{unix.SYS_GETPRIORITY}}}
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := o.command(t, &out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	var messages []uint
	first := true
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if status.Exited() || status.Signaled() {
			if status != 0 {
				t.Errorf("status %#x", status)
			}
			break
		}
		signal := 0
		switch {
		case first: // stopped at its exec
			first = false
			if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESECCOMP|unix.PTRACE_O_EXITKILL); err != nil {
				t.Error(err)
			}
		case status>>8 == unix.WaitStatus(unix.SIGTRAP)|unix.PTRACE_EVENT_SECCOMP<<8:
			m, err := unix.PtraceGetEventMsg(pid)
			if err != nil {
				t.Error(err)
			}
			messages = append(messages, m)
		default:
			signal = int(status.StopSignal())
		}
		if err := unix.PtraceCont(pid, signal); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // the process is gone; this ends the copying of its output
	if !slices.Equal(messages, []uint{message}) || out.String() != "20\n" {
		t.Errorf("traced %#x, printed %q; want %#x and 20", messages, out.String(), message)
	}
}
