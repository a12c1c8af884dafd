package seccomp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// childVariable is set in a process that is to put a filter on itself: this test program, started once more.
const childVariable = "TANDEM_SECCOMP_CHILD"

func init() {
	if os.Getenv(childVariable) != "" {
		runtime.LockOSThread() // the first thread: a filter is on the thread that loads it, and so is a tracer
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := runChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	testenv.Main(m)
}

// order is what a child reads from its standard input.
type order struct {
	Filter *Filter
	Calls  [][]uint64 // number and arguments of the system calls to make; their results are printed, a line each
	// Where the calls are made: by the thread that has loaded the filter, by one that was there before, or by one that
	// is to die of it.
	Thread string
	Exec   []string // what to run afterwards
}

func runChild() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	switch o.Thread {
	case "":
		if err := o.load(); err != nil {
			return err
		}
		o.call()
	case "other":
		started, loaded, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(started)
			<-loaded
			o.call()
			close(done)
		}()
		<-started
		if err := o.load(); err != nil {
			return err
		}
		close(loaded)
		<-done
	case "dying":
		thread := make(chan int)
		go func() {
			runtime.LockOSThread()
			if err := o.load(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
			thread <- unix.Gettid()
			o.call()
		}()
		path := fmt.Sprintf("/proc/self/task/%d", <-thread)
		for {
			if _, err := os.Stat(path); err != nil {
				fmt.Println("gone")
				break
			}
			runtime.Gosched()
		}
	}
	if o.Exec != nil {
		return syscall.Exec(o.Exec[0], o.Exec, os.Environ())
	}
	return nil
}

// load puts the filter on the calling thread, and hands its listener over if it has one.
func (o *order) load() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	listener, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(o.Filter.Flags),
		uintptr(unsafe.Pointer(o.Filter.Fprog())))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if !o.Filter.Notify {
		return nil
	}
	defer unix.Close(int(listener))
	return SendListener(context.Background(), o.Filter.ListenerPath, int(listener), specs.ContainerProcessState{
		Version: specs.Version, Pid: os.Getpid(), Metadata: o.Filter.ListenerMetadata,
		State: specs.State{
			Version: specs.Version, ID: "box", Status: specs.StateCreating, Pid: os.Getpid(), Bundle: "/bundle",
		},
	})
}

func (o *order) call() {
	for _, c := range o.Calls {
		a := make([]uintptr, 7)
		for i, v := range c {
			a[i] = uintptr(v)
		}
		// Not RawSyscall6: a thread that dies in it takes along the only P of a host with one CPU.
		r, _, errno := unix.Syscall6(a[0], a[1], a[2], a[3], a[4], a[5], a[6])
		if errno != 0 {
			fmt.Println(unix.ErrnoName(errno))
		} else {
			fmt.Println(int(r))
		}
	}
}

// command prepares a child. What it prints goes to out.
func (o *order) command(t *testing.T, out *bytes.Buffer) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"=1", "GOTRACEBACK=none")
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// run returns a child's lines, and how it ended.
func (o *order) run(t *testing.T) ([]string, syscall.WaitStatus) {
	t.Helper()
	var out bytes.Buffer
	cmd := o.command(t, &out)
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(strings.NewReader(out.String())); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines, cmd.ProcessState.Sys().(syscall.WaitStatus)
}
