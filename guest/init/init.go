package guestinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
	"tandem/guest/program"
	"tandem/guest/reap"
)

// IsInit tells whether this process is what the kernel started as a guest's init: pid 1, under the name init. A
// container's pid 1 may well be tandem too, under its own name.
func IsInit() bool {
	return os.Getpid() == 1 && len(os.Args) > 0 && filepath.Base(os.Args[0]) == "init"
}

// Main is the life of pid 1. It ends with the machine, and never returns.
func Main() {
	// The heap is a few megabytes, and the guest's memory somebody else's.
	debug.SetGCPercent(50)
	p := &pid1{endings: make(chan config.Action, 1)}
	p.guarded(p.boot)
	p.shutdown(<-p.endings)
}

// pid1 is the machine's first process.
type pid1 struct {
	config    *config.Config
	env       []string // of what it starts
	processes *reap.Reaper

	ending  atomic.Bool
	endings chan config.Action // one, which ends the machine
}

// end ends the machine, and tells whether it was not ending already.
func (p *pid1) end(a config.Action) (first bool) {
	first = p.ending.CompareAndSwap(false, true)
	if first {
		p.endings <- a
	}
	return first
}

// guarded calls f and powers the machine off if it fails: were pid 1 to end, the kernel would panic, and the reason be
// lost between registers.
func (p *pid1) guarded(f func() error) {
	defer func() {
		if r := recover(); r != nil {
			report("panic: %v\n%s", r, debug.Stack())
			p.end(config.PowerOff)
		}
	}()
	if err := f(); err != nil {
		report("%v; powering off", err)
		p.end(config.PowerOff)
	}
}

// boot brings the machine up and starts what the Config asks for. Errors that leave the machine usable are reported,
// others returned.
func (p *pid1) boot() error {
	p.watchSignals()
	unix.Umask(0o022)
	if err := mountAll(earlyMounts); err != nil {
		return err
	}
	openConsole()
	p.processes = reap.New()
	var err error
	if p.config, err = readConfig(config.Path); err != nil {
		return err
	}
	p.env = environment(p.config.Env)
	if port := p.config.BootTimerPort; port != 0 {
		stampBootTimer(port)
	}
	loadModules(p.config.Modules)
	if err := p.mountRoot(); err != nil {
		return err
	}
	reportAll(
		raiseLimits(),
		enableControllers(cgroupRoot),
		setHostname(p.config.Hostname),
		writeAccounts("/etc", "/root"),
		writeHosts("/etc/hosts", p.config.Hostname),
		loopbackUp(),
		configureNetwork(config.NetworkPath),
	)
	if c := p.config.Console; c != nil {
		go p.guarded(func() error { return p.runConsole(c) })
	}
	if a := p.config.Agent; a != nil {
		go p.guarded(func() error { return p.runAgent(a) })
	}
	return nil
}

// readConfig falls back to the default Config where there is none.
func readConfig(path string) (*config.Config, error) {
	c, err := config.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		d := config.Default()
		return &d, nil
	}
	return c, err
}

// environment lays the Config's variables over the defaults.
func environment(env []string) []string {
	return program.Environ([]string{
		"PATH=" + program.DefaultPath,
		"HOME=/root",
		"USER=root",
		"LOGNAME=root",
		"SHELL=/bin/sh",
		"TERM=vt220", // what every emulator behind a serial line understands
	}, env)
}

// stampBootTimer tells the monitor that init has been reached. Another monitor's machine has no such port; writing to
// it does nothing there.
func stampBootTimer(port uint16) {
	_ = writePort(port, bootTimerInit) // a kernel without ioperm(2) has no boot timer
}

// bootTimerInit is the byte that stands for init.
const bootTimerInit = 1

// report writes a line to the console.
func report(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "tandem init: "+format+"\n", args...)
}

func reportAll(errs ...error) {
	for _, err := range errs {
		if err != nil {
			report("%v", err)
		}
	}
}
