// Package reap starts processes and waits for them, also where every orphan of the machine has to be waited for.
//
// When a process ends, its parent must wait for it, or it stays as a zombie. When its parent ended first, the process
// has been handed to pid 1, which has to wait for children that it never knew:
//
//	pid 1 --+-- a command of ours            its status is wanted
//	        +-- an orphan of some daemon's   its status is not; but it must be waited for
//
// wait4(-1) takes the next one of either sort. So if one part of pid 1 waits for any child, and another, such as
// os/exec, for its own child, the first takes the second's status away. In a process with a Reaper, the Reaper alone
// waits, and everything is started through it: it knows each child before it can be waited for.
package reap

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit is a process's end.
type Exit struct {
	Status syscall.WaitStatus
	Usage  syscall.Rusage
}

// Reaper waits for every child of this process. There may be one in a process, and nothing else may wait for children.
type Reaper struct {
	// mu is held for writing while children are waited for, and for reading from a fork until the child is in waiters.
	mu      sync.RWMutex
	waiters sync.Map // pid (int) to chan Exit

	signals chan os.Signal
	asked   chan chan<- struct{} // each gets closed when no child is left
}

// New starts a Reaper. It ends with the process.
func New() *Reaper {
	r := &Reaper{signals: make(chan os.Signal, 1), asked: make(chan chan<- struct{})}
	signal.Notify(r.signals, unix.SIGCHLD)
	go r.run()
	return r
}

// Start forks and executes a program, as syscall.ForkExec. The channel gets the process's end.
func (r *Reaper) Start(argv0 string, argv []string, attr *syscall.ProcAttr) (int, <-chan Exit, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	pid, err := syscall.ForkExec(argv0, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan Exit, 1)
	r.waiters.Store(pid, ended)
	return pid, ended, nil
}

// Childless is closed when this process has no child left, be it only for a moment.
func (r *Reaper) Childless() <-chan struct{} {
	childless := make(chan struct{})
	r.asked <- childless
	return childless
}

// run waits for children whenever the kernel says that some have ended. One SIGCHLD can stand for many.
func (r *Reaper) run() {
	var askers []chan<- struct{}
	for {
		select {
		case <-r.signals:
		case asker := <-r.asked:
			askers = append(askers, asker)
		}
		if none := r.round(); none {
			for _, asker := range askers {
				close(asker)
			}
			askers = nil
		}
	}
}

// round waits for all that have ended and tells whether no child is left.
func (r *Reaper) round() (none bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var exit Exit
		pid, err := syscall.Wait4(-1, &exit.Status, syscall.WNOHANG, &exit.Usage)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return true
		case err != nil || pid == 0: // the rest are running
			return false
		default:
			r.deliver(pid, exit)
		}
	}
}

func (r *Reaper) deliver(pid int, exit Exit) {
	if ended, ok := r.waiters.LoadAndDelete(pid); ok {
		ended.(chan Exit) <- exit
	}
}

// Each waits for the processes that it has started and for no others: what an ordinary process wants.
type Each struct{}

// Start forks and executes a program, as syscall.ForkExec. The channel gets the process's end.
func (Each) Start(argv0 string, argv []string, attr *syscall.ProcAttr) (int, <-chan Exit, error) {
	pid, err := syscall.ForkExec(argv0, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan Exit, 1)
	go func() {
		var exit Exit
		for {
			if _, err := syscall.Wait4(pid, &exit.Status, 0, &exit.Usage); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		ended <- exit
	}()
	return pid, ended, nil
}
