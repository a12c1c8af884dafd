package guestinit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/guest/config"
	"tandem/guest/reap"
	"tandem/internal/testenv"
)

// pid1Variable names the part of init that the test binary is to play as pid 1 of a new PID namespace.
const pid1Variable = "TANDEM_TEST_PID1"

var parts = map[string]func() error{
	"signals":   signalsPart,
	"processes": processesPart,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(pid1Variable); name != "" && os.Getpid() == 1 {
		if err := parts[name](); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testenv.Main(m)
}

const patience = 3 * time.Minute

// TestAsPid1 runs parts of init where it is pid 1 and the host is out of reach.
func TestAsPid1(t *testing.T) {
	for name := range parts {
		t.Run(name, func(t *testing.T) {
			testenv.Need(t, testenv.Root)
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), pid1Variable+"="+name)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Setsid: true}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
			defer kill.Stop()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// shell runs a script as init runs things.
func (p *pid1) shell(script string) (syscall.WaitStatus, error) {
	_, ended, err := p.processes.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, err
	}
	return (<-ended).Status, nil
}

// signalsPart sends pid 1 all that it may get.
func signalsPart() error {
	p := &pid1{processes: reap.New(), endings: make(chan config.Action, 1)}
	p.watchSignals()
	for _, test := range []struct {
		signals string
		want    config.Action
	}{
		{"HUP QUIT PIPE ALRM ABRT XCPU PROF SYS TRAP TSTP TTIN TTOU USR1", config.PowerOff},
		{"USR2", config.PowerOff},
		{"PWR", config.PowerOff},
		{"TERM", config.Reboot},
		{"INT", config.Reboot},
		{"38", config.PowerOff},
		{"39", config.Reboot},
	} {
		p.ending.Store(false)
		status, err := p.shell("for s in " + test.signals + "; do kill -$s 1 || exit 1; done")
		if err != nil || status != 0 {
			return fmt.Errorf("kill %s: %#x, %w", test.signals, status, err)
		}
		if got := <-p.endings; got != test.want {
			return fmt.Errorf("signals %s: %s, want %s", test.signals, got, test.want)
		}
	}
	// What it starts has none of them ignored.
	status, err := p.shell("kill -PIPE $$")
	if err != nil || !status.Signaled() || status.Signal() != unix.SIGPIPE {
		return fmt.Errorf("kill -PIPE of a child: %#x, %w", status, err)
	}
	return nil
}

// processesPart ends processes that do not want to, and such as are stopped or nobody's children.
func processesPart() error {
	p := &pid1{processes: reap.New()}
	status, err := p.shell(`
		(trap '' TERM HUP; sleep 1000 & while :; do sleep 1; done) &
		(sleep 1000 &)
		sleep 1000 & kill -STOP $!
		setsid sleep 1000 &
		exit 0`)
	if err != nil || status != 0 {
		return fmt.Errorf("script: %#x, %w", status, err)
	}
	start := time.Now()
	p.endProcesses()
	if took := time.Since(start); took > termGrace+killGrace {
		return fmt.Errorf("took %v", took)
	}
	select {
	case <-p.processes.Childless():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("processes are left")
	}
}
