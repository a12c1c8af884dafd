package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/slack"
	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// start starts the program, and ends it after the test.
func start(t *testing.T, p *Program, o Options) *Process {
	t.Helper()
	process, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Signal(unix.SIGKILL)
		process.Wait()
		process.Close()
	})
	return process
}

// end is what Next says when nothing more comes.
func end(t *testing.T, p *Process) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	name, err := p.Next(ctx)
	if err == nil {
		t.Fatalf("Next = %q, want the end", name)
	}
	return err
}

// run is the exit status of a program that ends by itself.
func run(t *testing.T, p *Program, o Options) (syscall.WaitStatus, error) {
	t.Helper()
	process, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	said := end(t, process)
	status, err := process.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return status, said
}

func shell(p *Program, script string) {
	p.Exec(p.FindCommand(Command{Args: []string{"sh", "-c", script}, Path: []string{"/nowhere", "/etc/passwd", "/bin"}, Env: []string{"A=b"}}))
}

func TestExec(t *testing.T) {
	p := New()
	shell(p, "[ $A = b ] && exit 7")
	status, err := run(t, p, Options{})
	if !errors.Is(err, io.EOF) || status.ExitStatus() != 7 {
		t.Errorf("status %d, %v, want 7, EOF", status.ExitStatus(), err)
	}
}

// A thread that the runtime's monitor has made has a timer slack that is no one else's business.
func TestTimerSlack(t *testing.T) {
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	slack.Relax(slack.Short)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1_234_567, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	p := New()
	shell(p, fmt.Sprintf("read slack </proc/$$/timerslack_ns && [ $slack = %d ]", own))
	if status, err := run(t, p, Options{}); status != 0 {
		t.Errorf("status %#x, %v: another slack than %d ns", status, err, own)
	}
}

func TestKilled(t *testing.T) {
	p := New()
	shell(p, "kill -9 $$")
	if status, _ := run(t, p, Options{}); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, want killed by SIGKILL", status)
	}
}

// Nothing of the parent's is open in what the child executes but the standard files and what is preserved.
func TestDescriptors(t *testing.T) {
	leak, err := unix.Dup(0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	out := filepath.Join(t.TempDir(), "out")
	for _, preserve := range []int{0, 2} {
		p := New()
		p.Exec(p.FindCommand(Command{
			Args: []string{"sh", "-c", "ls -l /proc/self/fd | grep -v total >" + out}, Path: []string{"/bin"}, Preserve: preserve,
		}))
		if _, err := run(t, p, Options{}); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "tandem-stub") || strings.Contains(line, "socket:") || strings.Contains(line, "pidfd") {
				t.Errorf("open in the command: %s", line)
			}
		}
		// 0, 1, 2, and 3 of ls for the folder itself.
		if n := strings.Count(string(text), "\n"); preserve == 0 && n != 4 {
			t.Errorf("%d descriptors are open, want 4:\n%s", n, text)
		}
	}
}

func TestStepError(t *testing.T) {
	p := New()
	p.Phase("look around")
	_, r := p.Openat2(AtCwd, "/", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY}, "")
	p.Phase("go where nobody was")
	p.Openat2(From("dir", r), "no/such/file", unix.OpenHow{Flags: unix.O_PATH, Resolve: unix.RESOLVE_IN_ROOT}, "it is said to be there")
	p.Exit(0)
	status, err := run(t, p, Options{})
	var step *StepError
	if !errors.As(err, &step) || !errors.Is(err, unix.ENOENT) || step.Number != 3 || step.Total != 4 {
		t.Fatalf("error %#v, want ENOENT in step 3 of 4", err)
	}
	want := "go where nobody was: openat2 no/such/file: no such file or directory (step 3 of 4)"
	if err.Error() != want || status.ExitStatus() != exitFailed {
		t.Errorf("error %q, status %d, want %q, %d", err, status.ExitStatus(), want, exitFailed)
	}
}

func TestExecFails(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/no/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want error
		op   string
	}{
		{[]string{"frobnicate"}, unix.ENOENT, "faccessat2"},
		{[]string{"/etc/passwd"}, unix.EACCES, "faccessat2"},
		{[]string{"/etc"}, unix.EACCES, "execve"},
		{[]string{script}, unix.ENOENT, "execve"},
	} {
		p := New()
		p.Exec(p.FindCommand(Command{Args: test.args, Path: []string{"/bin"}}))
		_, err := run(t, p, Options{})
		var step *StepError
		if !errors.As(err, &step) || !errors.Is(err, test.want) || step.Op != test.op {
			t.Errorf("%q: %v, want %v of %s", test.args, err, test.want, test.op)
		}
	}
}

func TestSync(t *testing.T) {
	p := New()
	p.Sync("first", "")
	p.Sync("second", "")
	p.Exit(3)
	process := start(t, p, Options{})
	for _, want := range []string{"first", "second"} {
		if got, err := process.Next(t.Context()); got != want || err != nil {
			t.Fatalf("Next = %q, %v, want %q", got, err, want)
		}
		if err := process.Go(); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(t, process); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if status, err := process.Wait(); status.ExitStatus() != 3 || err != nil {
		t.Errorf("status %d, %v, want 3", status.ExitStatus(), err)
	}
}

// A child ends when its parent does not want it any more, and a wait for it can be given up.
func TestSyncGivenUp(t *testing.T) {
	p := New()
	p.Sync("only", "")
	p.Sync("never", "")
	p.Exit(0)
	process, err := p.Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := process.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next = %v, want %v", err, context.DeadlineExceeded)
	}
	pidFD, err := unix.FcntlInt(process.PIDFD().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidFD)
	process.Close()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, pidFD, &info, unix.WEXITED, nil); err != nil || waitStatus(&info).ExitStatus() != exitFailed {
		t.Errorf("status %d, %v", waitStatus(&info).ExitStatus(), err)
	}
}

func TestElseAndExpect(t *testing.T) {
	for _, test := range []struct {
		path string
		want int
	}{{"/proc/self/status", 1}, {"/dev/null", 2}, {"/missing", 3}} {
		p := New()
		missing, other := p.Label(), p.Label()
		open, fd := p.Openat2(AtCwd, test.path, unix.OpenHow{Flags: unix.O_PATH}, "")
		open.Else(unix.ENOENT, missing)
		buf := p.room(statfsSize)
		p.Call("fstatfs", unix.SYS_FSTATFS, "", "", From("fd", fd), filled("buf", buf, ""))
		p.expectWord("f_type", buf+statfsType, 8, ^uint64(0), unix.PROC_SUPER_MAGIC, unix.EINVAL, other, "")
		p.Exit(1)
		p.Bind(other)
		p.Exit(2)
		p.Bind(missing)
		p.Exit(3)
		if status, err := run(t, p, Options{}); status.ExitStatus() != test.want {
			t.Errorf("%s: status %d, %v, want %d", test.path, status.ExitStatus(), err, test.want)
		}
	}
}

func TestExpectFails(t *testing.T) {
	for name, test := range map[string]struct {
		path string
		ask  func(*Program, Reg)
		want error
	}{
		"procfs":           {"/proc", func(p *Program, r Reg) { p.ExpectFS(r, "/proc", unix.PROC_SUPER_MAGIC, unix.EINVAL, "") }, nil},
		"no procfs":        {"/tmp", func(p *Program, r Reg) { p.ExpectFS(r, "/proc", unix.PROC_SUPER_MAGIC, unix.EINVAL, "") }, unix.EINVAL},
		"null":             {"/dev/null", func(p *Program, r Reg) { p.ExpectDevice(r, "", unix.Mkdev(1, 3), unix.ENODEV, "") }, nil},
		"another device":   {"/dev/zero", func(p *Program, r Reg) { p.ExpectDevice(r, "", unix.Mkdev(1, 3), unix.ENODEV, "") }, unix.ENODEV},
		"no device at all": {"/etc/passwd", func(p *Program, r Reg) { p.ExpectDevice(r, "", unix.Mkdev(1, 3), unix.ENODEV, "") }, unix.ENODEV},
		"in the root":      {"/", func(p *Program, _ Reg) { p.ExpectInRoot("") }, nil},
	} {
		p := New()
		_, r := p.Openat2(AtCwd, test.path, unix.OpenHow{Flags: unix.O_PATH}, "")
		test.ask(p, r)
		p.Exit(0)
		if _, err := run(t, p, Options{}); test.want != nil && !errors.Is(err, test.want) || test.want == nil && err != io.EOF {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestNamespacesAndFork(t *testing.T) {
	testenv.Need(t, testenv.Root)
	p := New()
	p.Sync("born", "")
	p.Fork("to see that another process goes on")
	p.Sync("forked", "")
	shell(p, "exit $(cut -d' ' -f1 /proc/self/stat | wc -l)")
	process := start(t, p, Options{Namespaces: unix.CLONE_NEWNS | unix.CLONE_NEWUTS})
	if name, err := process.Next(t.Context()); name != "born" || err != nil {
		t.Fatal(name, err)
	}
	first := process.PID
	process.Go()
	if name, err := process.Next(t.Context()); name != "forked" || err != nil {
		t.Fatal(name, err)
	}
	if process.PID == first {
		t.Error("the same process goes on")
	}
	process.Go()
	if err := end(t, process); err != io.EOF {
		t.Error(err)
	}
	if status, err := process.Wait(); status.ExitStatus() != 1 || err != nil {
		t.Errorf("status %#x, %v", status, err)
	}
}

func TestBadPrograms(t *testing.T) {
	for name, make := range map[string]func(*Program){
		"empty":         func(*Program) {},
		"no end":        func(p *Program) { p.Sync("x", "") },
		"NUL in a path": func(p *Program) { p.Mkdirat(AtCwd, "a\x00b", 0o755, ""); p.Exit(0) },
		"loose label":   func(p *Program) { p.Jump(p.Label()); p.Exit(0) },
		"no command":    func(p *Program) { p.Exec(p.FindCommand(Command{})) },
		"no path":       func(p *Program) { p.Exec(p.FindCommand(Command{Args: []string{"ls"}})) },
		"7 arguments":   func(p *Program) { p.Call("x", 0, "", "", None, None, None, None, None, None, None); p.Exit(0) },
	} {
		p := New()
		make(p)
		if _, err := p.Start(Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What a script names as its interpreter is never the runtime: it finds the stub, which cannot be written to.
func TestSelfExe(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/proc/self/exe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := New()
	p.Sync("before", "")
	p.Exec(p.FindCommand(Command{Args: []string{script}, Path: []string{"/bin"}}))
	process := start(t, p, Options{})
	if _, err := process.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	process.Go()
	_ = end(t, process)
	// The kernel gives the stub the script's name as its argument, and so on until it is tired of it; in no case is it
	// this test's program that runs.
	status, err := process.Wait()
	if err != nil || !status.Exited() || status.ExitStatus() != exitFailed {
		t.Errorf("status %#x, %v, want %d of the stub", status, err, exitFailed)
	}
	fd, err := stub(3, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte{0}, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write to the stub: %v, want %v", err, unix.EPERM)
	}
}

// Ten thousand children, while the garbage collector runs and others fork too: each one comes to its end.
func TestManyStarts(t *testing.T) {
	starts := 10_000
	if testing.Short() {
		starts = 500
	}
	const workers = 4
	ctx, cancel := context.WithCancel(t.Context())
	var background sync.WaitGroup
	background.Go(func() {
		var garbage [][]byte
		for ctx.Err() == nil {
			garbage = append(garbage[:len(garbage)%64], make([]byte, 1<<14))
			runtime.GC()
		}
	})
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range starts / workers {
				p := New()
				p.Sync("here", "")
				_, r := p.Openat2(AtCwd, "/", unix.OpenHow{Flags: unix.O_PATH}, "")
				p.Close(r)
				p.Exit(5)
				process, err := p.Start(Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if name, err := process.Next(ctx); name != "here" || err != nil {
					t.Errorf("Next = %q, %v", name, err)
				}
				process.Go()
				if _, err := process.Next(ctx); err != io.EOF {
					t.Error(err)
				}
				if status, err := process.Wait(); status.ExitStatus() != 5 || err != nil {
					t.Errorf("status %#x, %v", status, err)
				}
				process.Close()
			}
		})
	}
	all.Wait()
	cancel()
	background.Wait()
}

// The child is a program of its own: none of the runtime's memory or files is in it, not while it waits either.
func TestLeavesTheRuntimeBehind(t *testing.T) {
	p := New()
	p.Sync("here", "")
	p.Exit(0)
	process := start(t, p, Options{})
	if _, err := process.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", process.PID))
	if err != nil || !strings.Contains(exe, "tandem-stub") {
		t.Errorf("it executes %q, %v", exe, err)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", process.PID))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(maps), self) || strings.Count(string(maps), "\n") > 10 {
		t.Errorf("its memory:\n%s", maps)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", process.PID))
	if err != nil || len(fds) != 4 {
		t.Errorf("%d descriptors %v, %v, want the standard files and the socket", len(fds), fds, err)
	}
	process.Go()
}

// Signals that the thread lets through get through to the command too, and those that it has blocked do not.
func TestSignalMask(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	var blocked, before unix.Sigset_t
	blocked.Val[0] = 1 << (unix.SIGUSR2 - 1)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &blocked, &before); err != nil {
		t.Fatal(err)
	}
	p := New()
	p.Exec(p.FindCommand(Command{Args: []string{"grep", "-q", fmt.Sprintf("SigBlk:.*%016x", blocked.Val[0]), "/proc/self/status"}, Path: []string{"/bin"}}))
	if status, err := run(t, p, Options{}); status != 0 {
		t.Errorf("status %#x, %v: another mask than %#x", status, err, blocked.Val[0])
	}
	var after unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, &after); err != nil || after.Val[0] != blocked.Val[0] {
		t.Errorf("mask %#x, %v in the parent afterwards, want %#x", after.Val[0], err, blocked.Val[0])
	}
}

// Whoever is born into a new user namespace has all rights in it, though it is not root there yet.
func TestRightsInUserNamespace(t *testing.T) {
	p := New()
	p.Call("sethostname", unix.SYS_SETHOSTNAME, "", "", p.Bytes("name", []byte("x"), ""), Int("size", 1))
	p.Exit(9)
	if status, err := run(t, p, Options{Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWUTS}); status.ExitStatus() != 9 {
		t.Errorf("status %#x, %v, want 9", status, err)
	}
}

// Descriptors that are passed on keep their numbers, and no file of the program's has one of them.
func TestPreservedNumbers(t *testing.T) {
	p := New()
	null := p.Beforehand("open", "/dev/null", "", func() (*os.File, error) { return os.Open("/dev/null") })
	p.ExpectDevice(null, "", unix.Mkdev(1, 3), unix.ENODEV, "")
	p.Exec(p.FindCommand(Command{
		Args: []string{"sh", "-c", "ls -l /proc/$$/fd | grep -E 'memfd|socket' >&2 && exit 1; exit 0"},
		Path: []string{"/bin"}, Preserve: 100,
	}))
	if status, err := run(t, p, Options{}); status != 0 {
		t.Errorf("status %#x, %v: a file of the program's is open in the command", status, err)
	}
}

func TestTooLong(t *testing.T) {
	p := New()
	p.Exec(p.FindCommand(Command{Args: []string{"sh", "-c", "exit", strings.Repeat("x", programLimit)}, Path: []string{"/bin"}}))
	if _, err := p.Start(Options{}); !errors.Is(err, unix.E2BIG) {
		t.Errorf("Start = %v, want %v", err, unix.E2BIG)
	}
}

// Who comes first to an await does not wait for the other.
func TestAwait(t *testing.T) {
	for _, early := range []bool{true, false} {
		p := New()
		p.Await("socket", "")
		p.Sync("here", "")
		p.Exit(4)
		process := start(t, p, Options{})
		if early {
			process.Go()
		} else {
			go process.Go()
		}
		if name, err := process.Next(t.Context()); name != "here" || err != nil {
			t.Fatalf("Next = %q, %v", name, err)
		}
		process.Go()
		if status, err := process.Wait(); status.ExitStatus() != 4 || err != nil {
			t.Errorf("status %#x, %v, want 4", status, err)
		}
	}
}

// What a child says last is heard, also if it was told something meanwhile that it has not read.
func TestFailureBeforeAwait(t *testing.T) {
	p := New()
	p.Openat2(AtCwd, "/missing", unix.OpenHow{Flags: unix.O_PATH}, "")
	p.Await("socket", "")
	p.Exit(0)
	for range 20 {
		p := *p
		process, err := p.Start(Options{})
		if err != nil {
			t.Fatal(err)
		}
		goErr := process.Go()
		if err := unix.Waitid(unix.P_PIDFD, int(process.PIDFD().Fd()), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		var step *StepError
		if err := end(t, process); !errors.As(err, &step) || !errors.Is(err, unix.ENOENT) {
			t.Errorf("%v (told to go on: %v), want the step that failed", err, goErr)
		}
		process.Wait()
		process.Close()
	}
}

func TestTooManyErrors(t *testing.T) {
	p := New()
	c := p.Mkdirat(AtCwd, "/", 0o755, "")
	for n := range unix.Errno(300) {
		c.Accept(n + 1)
	}
	p.Exit(0)
	if _, err := p.Start(Options{}); !errors.Is(err, unix.E2BIG) {
		t.Errorf("Start = %v, want %v", err, unix.E2BIG)
	}
}

// A signal that comes before the stub is executed is the child's alone: it finds none of this process's handlers.
func TestSignalBeforeTheStub(t *testing.T) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGUSR1)
	defer signal.Stop(caught)
	const registers, begin, room = pidFDWord + 1, pidFDWord + 3, 64
	words := make([]uint64, begin, room)
	call := func(first, nr uint64, args ...uint64) {
		words = append(words, uint64(kindCall)|uint64(8*len(args))<<sizeShift|first, nr<<32, 0)
		words = append(words, args...)
	}
	const own = 1 // the register of the child's number
	call(own<<resultShift, unix.SYS_GETPID)
	call(1<<registersShift, unix.SYS_KILL, own, uint64(unix.SIGUSR1))
	call(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, addressOf(words[headerMask:]), 0, 8)
	call(0, unix.SYS_EXIT_GROUP, 0)
	words[headerRegisters], words[headerBegin] = addressOf(words[registers:]), addressOf(words[begin:])
	_, fd, err := fork(cloneArgs{flags: unix.CLONE_VM | unix.CLONE_VFORK}, words[:room])
	if err != nil {
		t.Fatal(err)
	}
	pidFD := os.NewFile(uintptr(fd), "pidfd")
	defer pidFD.Close()
	var info unix.Siginfo
	if err := wait(pidFD, &info); err != nil {
		t.Fatal(err)
	}
	if status := waitStatus(&info); !status.Signaled() || status.Signal() != unix.SIGUSR1 {
		t.Errorf("status %#x, want killed by SIGUSR1", status)
	}
	select {
	case <-caught:
		t.Error("this process has caught the child's signal")
	default:
	}
}

// A child that has been waited for already can be killed all the same.
func TestKillAfterWait(t *testing.T) {
	p := New()
	p.Exit(0)
	process, err := p.Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Errorf("Kill = %v", err)
	}
}
