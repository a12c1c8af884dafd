package signals

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// relay is what this process has of Relay.
var relay struct {
	sync.Mutex
	to [last + 1][]chan<- syscall.Signal
}

// Relay sends the signals to a channel from now on, as os/signal.Notify does: a channel that is full misses some. The
// signals are its own from then on: os/signal hears of none of them, and there is no end to it but the process's.
//
// For a command that lives for milliseconds os/signal is dear: its runtime makes three threads and shakes hands with one of
// them for each signal, which is a tenth of a container's run. Here it is one rt_sigaction(2) a signal, with the oldest
// handler that there is: it writes the signal's number into a pipe, which a goroutine reads.
//
//	signal ──► handler, in assembly ── 1 byte ──► pipe ──► goroutine ──► channels
//
// A process that this one makes has none of it: the runtime takes back the handlers of the signals that it handles itself,
// which are nearly all of these, before the new process can get one; execve(2) takes back the rest; and the handler does
// nothing in any process but this. One that this process was started to ignore, as by nohup(1), the new one does not ignore
// any more: so it is with os/signal too.
func Relay(c chan<- syscall.Signal, which ...syscall.Signal) error {
	relay.Lock()
	defer relay.Unlock()
	if relayTo.pid == 0 {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return fmt.Errorf("signals: %w", os.NewSyscallError("pipe2", err))
		}
		relayTo.fd, relayTo.pid = int32(pipe[1]), int32(os.Getpid())
		go passOn(os.NewFile(uintptr(pipe[0]), "signals"))
	}
	for _, s := range which {
		if !slices.Contains(Relayed, s) {
			return fmt.Errorf("signals: %v (%d) cannot be relayed", s, int(s))
		}
		first := relay.to[s] == nil
		relay.to[s] = append(relay.to[s], c) // first: the handler may run at once
		if !first {
			continue
		}
		if err := handle(s); err != nil {
			return fmt.Errorf("signals: %w", os.NewSyscallError(fmt.Sprintf("rt_sigaction %v", s), err))
		}
	}
	return nil
}

// passOn reads the pipe, for as long as this process lives.
func passOn(pipe *os.File) {
	var numbers [64]byte
	for {
		n, err := pipe.Read(numbers[:])
		if err != nil {
			return
		}
		for _, number := range numbers[:n] {
			relay.Lock()
			for _, c := range relay.to[number] {
				select {
				case c <- syscall.Signal(number):
				default:
				}
			}
			relay.Unlock()
		}
	}
}

// Relayed are all signals that can be relayed: not those that nobody can catch, those that tell of an error of this
// process's own, those that the runtime needs itself, and that of a child's end.
var Relayed = relayed()

func relayed() []syscall.Signal {
	list := []syscall.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM,
		unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGWINCH,
		unix.SIGIO, unix.SIGPWR,
	}
	for s := syscall.Signal(rtMin + 1); s <= last; s++ { // the runtime leaves the first to musl
		list = append(list, s)
	}
	return list
}
