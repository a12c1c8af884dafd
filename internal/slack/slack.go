// Package slack makes the Go runtime's monitor wake up less often: in a command that lives for milliseconds,
// and in a virtual machine's monitor, whose threads sleep in system calls that last.
//
// The monitor ("sysmon") is a thread that looks after the others: while anything runs it sleeps for 20 us at a time, and
// only when it has found nothing to do for fifty times it begins to sleep for longer. Each waking costs a timer, an
// interrupt and two changes of thread: for a command that ends after eight milliseconds that is the greatest single cost.
//
//	thread of main   ──── run ──── system call ──── run ────       as before
//	monitor          ─┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐ ┌┐          every 20 us and the kernel's slack, which is 50 us
//	monitor, Relax   ─┐                  ┌┐                  ┌     every 20 us and a slack of 2 ms or more
//
// There is no way to tell the runtime, but one to tell the kernel: how much later than asked a thread may be woken up, see
// PR_SET_TIMERSLACK(2const) and proc_pid_timerslack_ns(5). The monitor's work can wait for that long: it takes a
// processor from a system call that lasts, and interrupts what has run for 10 ms. Where threads go in and out of long
// system calls, it finds one to take back every 10 ms, and begins anew with its 20 us.
//
// A thread inherits the slack of its maker, and a process that of the thread that forks: a thread that the monitor has
// made would pass it on to a container. So whoever forks one gives back what this process had.
package slack

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// How much later than it asks for the monitor may be woken up. It asks for 20 us when there is much to do, and for 10 ms
// when there is little.
const (
	Short = 2 * time.Millisecond  // for a command that lives for milliseconds
	Long  = 10 * time.Millisecond // for one whose processors outnumber its threads: nobody waits for one to be taken back
)

// own is the slack that this process began with, in nanoseconds, or 0 as long as nothing was changed.
var own uintptr

// Relax lets the monitor sleep for longer. relaxed is Short or Long. It is called once, before any process is made. Who may not do it
// (proc(5) wants CAP_SYS_NICE) goes on as before.
func Relax(relaxed time.Duration) {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack <= 0 || time.Duration(slack) >= relaxed {
		return // 0 is a real-time thread's, which has none
	}
	thread, ok := monitor()
	if !ok {
		return
	}
	own = uintptr(slack)
	fd, err := unix.Open("/proc/"+thread+"/timerslack_ns", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_, _ = unix.Write(fd, strconv.AppendInt(nil, relaxed.Nanoseconds(), 10))
}

// monitor is the number of the monitor's thread: it is the first that the runtime makes, before all that a program can
// have a part in, and the kernel lists threads in the order of their making. Were it another one day, this one would
// sleep for too long by that much.
func monitor() (thread string, ok bool) {
	fd, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	var entries [4096]byte
	n, err := unix.ReadDirent(fd, entries[:])
	if err != nil {
		return "", false
	}
	_, _, threads := unix.ParseDirent(entries[:n], 2, nil)
	if len(threads) < 2 || threads[0] != strconv.Itoa(os.Getpid()) {
		return "", false
	}
	return threads[1], true
}

// Own is the slack in nanoseconds that a thread must have that forks, by PR_SET_TIMERSLACK; 0 is the one that it has.
func Own() uintptr { return own }

// GiveBack gives the calling thread the slack that this process had: before it forks, on a thread that is locked.
func GiveBack() {
	if own != 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, own, 0, 0, 0)
	}
}
