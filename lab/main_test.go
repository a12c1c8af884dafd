package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tandem/guest/agent"
	"tandem/internal/process"
	"tandem/internal/testenv"
)

// The test binary is also the tandem whose supervisor it starts. What machine that supervisor makes is told by a
// variable; without it, it is the real one.
const machineVariable = "TANDEM_TEST_LAB_MACHINE"

// The machines. All but brokenMachine have a process in QEMU's place, and as their agent a real one, which runs
// commands on the host.
const (
	fakeMachine   = "fake"
	slowMachine   = "slow"   // never gets ready
	deafMachine   = "deaf"   // hears nothing more after SIGUSR1
	brokenMachine = "broken" // cannot be made
	silentProgram = "silent" // not even a supervisor
)

// greeting is on the console of the machines.
const greeting = "this is the fake machine"

func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "lab" || os.Args[2] != Verb {
		testenv.Main(m)
	}
	if os.Getenv(machineVariable) == silentProgram {
		fmt.Fprintln(os.Stderr, "lab: who is that?")
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := supervise(ctx, bootFake)
	stop()
	agents.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// agents are those that run. What they have started has ended when they have.
var agents sync.WaitGroup

// bootFake is the bootFunc of the test's supervisors.
func bootFake(ctx context.Context, s *supervisor) (*machine, error) {
	s.step("fake it")
	if os.Getenv(machineVariable) == brokenMachine {
		return nil, errors.New("no flux capacitor")
	}
	m := &machine{kernel: "6.1.0-fake", errors: &tail{}, pulse: defaultPulse, ended: make(chan struct{})}
	var err error
	if m.console, err = newConsole(s.dir.file(consoleFile)); err != nil {
		return nil, err
	}
	cmd := exec.Command("sh", "-c", "echo "+greeting+"; exec sleep 1000")
	cmd.Stdout = m.console
	if m.qemu, err = startQEMU(cmd); err != nil {
		return nil, err
	}
	id, err := process.Of(m.qemu.process.Pid)
	if err != nil {
		return nil, err
	}
	if err := s.writeRecord(id); err != nil {
		return nil, err
	}
	s.change(func(st *State) { st.QEMU = id.PID })
	if os.Getenv(machineVariable) == slowMachine {
		<-ctx.Done()
		m.qemu.kill()
		return nil, context.Cause(ctx)
	}
	here, there := net.Pipe()
	go func() {
		// The agent lives no longer than the machine.
		<-m.qemu.ended
		there.Close()
	}()
	deaf := new(atomic.Bool)
	server := &agent.Server{End: func(agent.Action) error { return m.qemu.process.Kill() }}
	agents.Go(func() { _ = server.Serve(context.Background(), ear{there, deaf}) })
	if m.agent, err = agent.NewClient(ctx, here); err != nil {
		return nil, err
	}
	if os.Getenv(machineVariable) == deafMachine {
		m.pulse = pulse{every: 50 * time.Millisecond, limit: 2 * time.Second}
		usr1 := make(chan os.Signal, 1)
		signal.Notify(usr1, syscall.SIGUSR1)
		go func() {
			<-usr1
			deaf.Store(true)
		}()
	}
	go m.watch()
	return m, nil
}

// ear is a connection from which what comes is thrown away when deaf is set.
type ear struct {
	net.Conn
	deaf *atomic.Bool
}

func (e ear) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	for err == nil && e.deaf.Load() {
		n, err = e.Conn.Read(p)
	}
	return n, err
}

// fakeLab gives options for a lab of the test's own, whose machine is of that kind. The lab is gone after the test.
func fakeLab(t *testing.T, machine string) Options {
	t.Helper()
	t.Setenv(machineVariable, machine)
	o := Options{Dir: t.TempDir() + "/lab"}
	t.Cleanup(func() {
		if err := Down(context.Background(), o); err != nil && !errors.Is(err, ErrNotRunning) {
			t.Errorf("Down after the test: %v", err)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state folder is still there: %v", err)
		}
	})
	return o
}
