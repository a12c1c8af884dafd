package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"tandem/internal/process"
)

// supervisor owns a lab: its state, its machine, and the connections to it.
type supervisor struct {
	dir      dir
	options  Options
	record   *os.File // whose lock is the supervisor's
	listener net.Listener

	bootMachine bootFunc
	stop        context.CancelCauseFunc // tells the supervisor to go down
	fate        context.Context         // ends when the lab's fate is on record, and clients may hear of it
	release     context.CancelFunc      // ends it
	handlers    sync.WaitGroup
	machine     *machine // set before the phase is Ready

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed at the next change of state
	idle    *time.Timer   // runs while nobody uses a lab that is ready
}

// bootFunc makes the machine of a lab and returns when its agent answers.
type bootFunc func(context.Context, *supervisor) (*machine, error)

// Reasons to go down that are not failures.
var (
	errToldTo = errors.New("told to go down")
	errIdle   = errors.New("nobody used it")
)

// Supervise is the life of the process that `tandem lab supervise` is: it boots the lab that standard input describes,
// serves it on the socket that it inherited, and returns when the lab is gone. ctx ends it early.
func Supervise(ctx context.Context) error {
	return supervise(ctx, bootMachine)
}

func supervise(ctx context.Context, boot bootFunc) error {
	s, err := newSupervisor()
	if err != nil {
		return fmt.Errorf("lab: supervise: %w", err)
	}
	s.bootMachine = boot
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("lab: supervise: %w", err)
	}
	return nil
}

func newSupervisor() (*supervisor, error) {
	for _, fd := range []int{lockFD, listenFD} {
		syscall.CloseOnExec(fd)
	}
	var o Options
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return nil, fmt.Errorf("read options (`tandem lab up` gives them): %w", err)
	}
	d, err := openDir(o.Dir)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(listenFD, "socket")
	listener, err := net.FileListener(socket)
	if err != nil {
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	socket.Close()
	switch {
	case o.Idle == 0:
		o.Idle = DefaultIdle
	case o.Idle < 0:
		o.Idle = -1
	}
	s := &supervisor{
		dir:      d,
		options:  o,
		record:   os.NewFile(lockFD, d.file(supervisorFile)),
		listener: listener,
		changed:  make(chan struct{}),
		state: State{
			Phase:      Starting,
			Supervisor: os.Getpid(),
			Dir:        string(d),
			Console:    d.file(consoleFile),
			Started:    time.Now(),
			Idle:       o.Idle,
		},
	}
	s.fate, s.release = context.WithCancel(context.Background())
	return s, nil
}

// run returns an error if the lab went down that nobody had told to.
func (s *supervisor) run(outer context.Context) error {
	if err := s.writeRecord(process.ID{}); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(outer)
	defer stop(nil)
	s.stop = stop
	s.handlers.Go(func() { s.accept(ctx) })
	err := s.boot(ctx)
	if err == nil {
		err = s.await(ctx)
	}
	if reason := context.Cause(ctx); outer.Err() != nil || errors.Is(reason, errToldTo) || errors.Is(reason, errIdle) {
		err = nil
	}
	return s.end(err)
}

// boot makes the machine, and starts the clock that ends an idle lab.
func (s *supervisor) boot(ctx context.Context) error {
	m, err := s.bootMachine(ctx, s)
	if err != nil {
		return err
	}
	s.machine = m
	s.change(func(st *State) {
		st.Phase, st.Step, st.Boot = Ready, "", m.boot
		st.Kernel = m.kernel
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.Idle > 0 {
		s.idle = time.AfterFunc(s.options.Idle, s.goIdle)
		if s.state.Sessions > 0 {
			s.idle.Stop()
		}
	}
	return nil
}

// await waits for a reason to go down, and returns it.
func (s *supervisor) await(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.machine.ended:
		return s.machine.err
	}
}

// end takes the lab down, and says why to everybody if nobody told it to. It returns the reason.
func (s *supervisor) end(why error) error {
	// Nobody new may come in: who dials now waits for this process's end, and starts another lab then.
	s.listener.Close()
	_ = os.Remove(s.dir.file(socketFile))
	if s.machine != nil {
		s.machine.stop()
	}
	if why != nil {
		_ = s.dir.writeFailure(os.Getpid(), why)
	}
	s.change(func(st *State) {
		st.Phase, st.Step = Stopping, ""
		if why != nil {
			st.Error = why.Error()
		}
	})
	s.release()
	s.handlers.Wait()
	s.removeFiles(why == nil)
	return why
}

// removeFiles leaves nothing behind, but for what tells of a failure.
func (s *supervisor) removeFiles(all bool) {
	_ = os.Remove(s.dir.file(logFile))
	if all {
		_ = os.Remove(s.dir.file(consoleFile))
		_ = s.dir.forgetFailures(0)
	}
	starting, err := tryLock(string(s.dir), os.O_RDONLY)
	if err != nil {
		return // somebody waits for our end to start another lab, or to tidy up
	}
	defer starting.Close()
	s.dir.remove()
}

// writeRecord writes down what to look for if this process dies.
func (s *supervisor) writeRecord(qemu process.ID) error {
	self, err := process.Self()
	if err != nil {
		return err
	}
	text, err := json.Marshal(record{self, qemu})
	if err != nil {
		return err
	}
	if err := s.record.Truncate(int64(len(text))); err != nil {
		return err
	}
	_, err = s.record.WriteAt(text, 0)
	return err
}

// change changes the state and tells those who watch it.
func (s *supervisor) change(f func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
	close(s.changed)
	s.changed = make(chan struct{})
}

// now returns the state, and the channel that is closed when it changes.
func (s *supervisor) now() (State, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

func (s *supervisor) step(format string, args ...any) {
	s.change(func(st *State) { st.Step = fmt.Sprintf(format, args...) })
}

// enter counts a client in.
func (s *supervisor) enter() {
	s.change(func(st *State) {
		st.Sessions++
		if s.idle != nil {
			s.idle.Stop()
		}
	})
}

// leave counts a client out.
func (s *supervisor) leave() {
	s.change(func(st *State) {
		st.Sessions--
		if s.idle != nil && st.Sessions == 0 {
			s.idle.Reset(s.options.Idle)
		}
	})
}

// goIdle is what the idle clock calls. Who has come as it went off counts, and who comes after it is sent away.
func (s *supervisor) goIdle() {
	idle := false
	s.change(func(st *State) {
		if idle = st.Sessions == 0 && st.Phase == Ready; idle {
			st.Phase = Stopping
		}
	})
	if idle {
		s.stop(errIdle)
	}
}
