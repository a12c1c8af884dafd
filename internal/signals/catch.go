package signals

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// common are the signals that people and supervisors send to what runs a command.
var common = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGPIPE,
}

// Catch gives all signals that this process is sent, for the rest of its life: whoever calls it is about to pass them on
// until the process ends. It returns as soon as it catches the common ones. The runtime shakes hands with a thread of
// its own for each signal, one after the other, which takes a millisecond or two for all 62 of them: the others follow
// when the process is settled, and one that comes before is ignored, not fatal. For the same reason there is no way to
// stop.
func Catch() <-chan os.Signal {
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, common...)
	time.AfterFunc(settled, func() { signal.Notify(caught) })
	return caught
}

// settled is longer than a command takes that only starts and ends: it never pays for the signals that nobody sends it.
const settled = 20 * time.Millisecond
