package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
	"tandem/container/seccomp"
	"tandem/internal/plan"
)

// terminalStep fetches the terminal's master out of the child and passes it on.
func (a *assembly) terminalStep() plan.Step {
	return terminalStep(a.spec.Config.Process, a.spec.ConsoleSocket, a.spec.Console, func() *child.Process { return a.child })
}

// sendTerminal gives the parent a terminal's master, which waits to be told to go on.
func sendTerminal(p *child.Program, master child.Reg) {
	p.Send("/dev/ptmx", master, "the terminal's other end is for whoever uses the container")
	p.Sync(syncTerminal, "the parent passes it on to where it was asked to")
}

// listener is a seccomp listener that the child has sent. One whose filter lets it send nothing is fetched out of it, see
// pidfd_getfd(2), by its last sync's word: that takes the right to look into the child.
func listener(c *child.Process) (*os.File, error) {
	if sent := c.File(); sent != nil {
		return sent, nil
	}
	got, err := unix.PidfdGetfd(int(c.PIDFD().Fd()), c.Value(), 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_getfd %d: %w (linux.seccomp allows no sendmsg, by which the process could send it)", c.Value(), err)
	}
	return os.NewFile(uintptr(got), "seccomp listener"), nil // close-on-exec, as pidfd_getfd makes it
}

func terminalStep(p *specs.Process, socket string, console func(*os.File) error, from func() *child.Process) plan.Step {
	to := socket
	if to == "" {
		to = "the caller"
	}
	args := []plan.Arg{plan.A("to", to)}
	if size := p.ConsoleSize; size != nil {
		args = append(args, plan.A("size", fmt.Sprintf("%dx%d", size.Width, size.Height)))
	}
	return plan.Step{
		Op: "sendmsg", Object: "/dev/ptmx", Args: args, Why: "the terminal's other end",
		Do: func() error {
			master := from().File()
			if master == nil {
				return errors.New("the child has sent no terminal")
			}
			if size := p.ConsoleSize; size != nil {
				err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)})
				if err != nil {
					master.Close()
					return fmt.Errorf("process.consoleSize: %w", err)
				}
			}
			switch {
			case socket != "":
				defer master.Close()
				return sendMaster(socket, master)
			case console != nil:
				return console(master)
			}
			master.Close()
			return invalid("process.terminal, but nobody takes the terminal (no console socket)")
		},
	}
}

// sendMaster sends the descriptor over a Unix socket, with its file's name as the message.
func sendMaster(path string, master *os.File) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return fmt.Errorf("console socket: %w", err)
	}
	defer conn.Close()
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("console socket: not a Unix socket")
	}
	if _, _, err := c.WriteMsgUnix([]byte("/dev/ptmx"), unix.UnixRights(int(master.Fd())), nil); err != nil {
		return fmt.Errorf("console socket %s: %w", path, err)
	}
	return nil
}

// listenerStep passes a seccomp listener on.
func (a *assembly) listenerStep() plan.Step {
	return plan.Step{
		Op: "sendmsg", Object: "seccomp listener", Args: []plan.Arg{plan.A("to", a.process.filter.ListenerPath)},
		Why: "who listens answers for the calls that the filter asks about",
		Do: func() error {
			f, err := listener(a.child)
			if err != nil {
				return err
			}
			defer f.Close()
			return a.sendListener(a.context(), f)
		},
	}
}

func (a *assembly) sendListener(ctx context.Context, f *os.File) error {
	filter := a.process.filter
	return seccomp.SendListener(ctx, filter.ListenerPath, int(f.Fd()), specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: a.pid, Metadata: filter.ListenerMetadata,
		State: *a.state.specState(specs.StateCreating, a.pid),
	})
}

// specState is the state as hooks, listeners and `state` see it.
func (s *state) specState(status specs.ContainerState, pid int) *specs.State {
	return &specs.State{
		Version: s.Version, ID: s.ID, Status: status, Pid: pid, Bundle: s.Bundle, Annotations: s.Annotations,
	}
}
