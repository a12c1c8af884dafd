package slack

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func slackOf(t *testing.T, thread string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + thread + "/timerslack_ns")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func self() string { return strconv.Itoa(unix.Gettid()) }

// The thread that is relaxed is the one that sleeps by nanosleep(2), as nobody but the monitor does.
func TestRelax(t *testing.T) {
	testenv.Need(t, testenv.Root) // CAP_SYS_NICE
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := slackOf(t, self())
	Relax(Short)
	defer func() { own = 0 }()
	thread, ok := monitor()
	if !ok {
		t.Fatal("no monitor")
	}
	if got := slackOf(t, thread); got != "2000000" {
		t.Errorf("the monitor's slack is %s ns", got)
	}
	if got := slackOf(t, self()); got != before {
		t.Errorf("this thread's slack is %s ns, was %s", got, before)
	}
	threads, err := filepath.Glob("/proc/self/task/*/syscall")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %q, %v", threads, err)
	}
	// It sleeps nearly always, in a nanosleep or, when nothing runs, on a futex: it is asked while this thread runs.
	for range 100_000 {
		text, err := os.ReadFile("/proc/self/task/" + thread + "/syscall")
		if err != nil {
			t.Fatal(err)
		}
		if number, _, _ := strings.Cut(string(text), " "); number == "35" { // SYS_NANOSLEEP
			return
		}
	}
	t.Error("the thread was never seen in nanosleep: it is not the monitor's")
}

// A process that is made by a thread with another slack has the one that this process had.
func TestGiveBack(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	before := slackOf(t, self())
	Relax(Short)
	defer func() { own = 0 }()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(Short), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	GiveBack()
	said, err := exec.Command("cat", "/proc/self/timerslack_ns").Output()
	if got := strings.TrimSpace(string(said)); err != nil || got != before {
		t.Errorf("a process has a slack of %s ns, %v, want %s", got, err, before)
	}
}
