package guestinit

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

// requests are the signals that ask pid 1 to end the machine: busybox's and sysvinit's, ctrl-alt-del, the power
// button's, and systemd's for what calls it without its bus (systemd(1), SIGRTMIN+4 and +5).
//
// Halt is done as power-off. A halted machine of tandem's would be one that nobody can use and that still runs.
var requests = map[os.Signal]config.Action{
	unix.SIGUSR1:    config.PowerOff, // halt
	unix.SIGUSR2:    config.PowerOff,
	unix.SIGPWR:     config.PowerOff,
	unix.Signal(38): config.PowerOff,
	unix.SIGTERM:    config.Reboot,
	unix.SIGINT:     config.Reboot, // ctrl-alt-del
	unix.Signal(39): config.Reboot,
}

// ignored are signals that would end a Go program. They are caught and not ignored, as a program that init starts would
// inherit that.
var ignored = []os.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGALRM, unix.SIGABRT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
	unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGPROF, unix.SIGIO, unix.SIGSYS, unix.SIGTRAP, unix.SIGSTKFLT,
}

// watchSignals takes every signal that somebody may send.
func (p *pid1) watchSignals() {
	signals := make(chan os.Signal, len(requests))
	for s := range requests {
		signal.Notify(signals, s)
	}
	signal.Notify(make(chan os.Signal, 1), ignored...) // nobody receives: what does not fit is dropped
	go func() {
		for s := range signals {
			p.end(requests[s])
		}
	}()
	// Ctrl-alt-del is to send SIGINT instead of resetting the machine at once.
	if os.Getpid() == 1 {
		unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	}
}
