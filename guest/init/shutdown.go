package guestinit

import (
	"os"
	"slices"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

const (
	// termGrace is how long processes have to end when they are asked to, killGrace when they are not asked.
	termGrace = 2 * time.Second
	killGrace = 2 * time.Second
)

// shutdown ends the machine and does not return, whatever happens on the way.
func (p *pid1) shutdown(a config.Action) {
	p.guarded(p.settle)
	command := unix.LINUX_REBOOT_CMD_POWER_OFF
	if a == config.Reboot {
		command = unix.LINUX_REBOOT_CMD_RESTART
	}
	if err := unix.Reboot(command); err != nil {
		report("%s: %v", a, err)
	}
	select {} // the machine may take a moment, and pid 1 must not end before it
}

// settle brings everything to rest that would miss its last moments.
func (p *pid1) settle() error {
	if p.processes != nil {
		p.endProcesses()
	}
	unix.Sync()
	unmountAll()
	drain(os.Stderr)
	return nil
}

// endProcesses ends everything but this process.
func (p *pid1) endProcesses() {
	if os.Getpid() != 1 {
		return // for any other, "everything" is the host's
	}
	for _, step := range []struct {
		signals []unix.Signal
		grace   time.Duration
	}{
		// An interactive shell ignores SIGTERM and ends at SIGHUP; a stopped process needs to be woken for either.
		{[]unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGCONT}, termGrace},
		{[]unix.Signal{unix.SIGKILL}, killGrace},
	} {
		for _, s := range step.signals {
			unix.Kill(-1, s) // all but this process; ESRCH is none
		}
		select {
		case <-p.processes.Childless(): // every process is a child of pid 1 once its parent has ended
			return
		case <-time.After(step.grace):
		}
		drain(os.Stderr) // the console's session is about to lose its leader
	}
}

// unmountAll unmounts file systems in the reverse of their order, so that what is on disks is clean. What is busy is
// made read-only.
func unmountAll() {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return
	}
	for _, info := range slices.Backward(infos) {
		if !onDisk(info) {
			continue
		}
		if unix.Unmount(info.Mountpoint, 0) == nil {
			continue
		}
		err := unix.Mount("", info.Mountpoint, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		if err != nil && info.Mountpoint != "/" {
			report("unmount %s: %v", info.Mountpoint, err)
		}
	}
	unix.Sync()
}

// onDisk tells whether a file system outlives the machine.
func onDisk(info *mountinfo.Info) bool {
	return info.Major != 0 // a device; all others have numbers of "unnamed" devices, major 0
}
