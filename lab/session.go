package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tandem/guest/agent"
)

// Session is one user of a lab. Its methods may be called at the same time.
type Session struct {
	dir        dir
	supervisor int
	agent      *agent.Client
}

// Connect begins a session with the lab; one is started if none is up.
func Connect(ctx context.Context, o Options) (*Session, error) {
	conn, state, err := connect(ctx, o, wantAgent)
	if err != nil {
		return nil, fmt.Errorf("lab: connect: %w", err)
	}
	client, err := agent.NewClient(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("lab: connect: %w", err)
	}
	return &Session{dir(state.Dir), state.Supervisor, client}, nil
}

// Close ends the session, and the commands that still run in it.
func (s *Session) Close() error { return s.agent.Close() }

// Agent is the lab's agent, for all that has nothing to do with files. It goes with the session.
func (s *Session) Agent() *agent.Client { return s.agent }

// Command is a program to run in the lab, with the host's files.
type Command struct {
	// Args is the program and its arguments. A program without a slash is looked up in the PATH of Env, in the lab.
	Args []string
	// Env is the whole environment. Nil means Environ(os.Environ()).
	Env []string
	// Dir is the working directory. Empty means this process's own.
	Dir string
	// Shares are the host's files and folders that the command may change. Whatever else it writes stays in the lab.
	Shares []string
	// Stdin, Stdout, Stderr, TTY, Rows and Cols are those of agent.Cmd.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	Rows, Cols     uint16
}

// Process is a command that has been started.
type Process struct {
	*agent.Cmd

	session *Session
}

// Start starts a command. It sees the host's files as they are now. When ctx ends, the command is killed.
func (s *Session) Start(ctx context.Context, c Command) (*Process, error) {
	cmd, err := s.command(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := s.agent.DropCaches(ctx, agent.Dentries); err != nil {
		return nil, s.explain(err)
	}
	if err := cmd.Start(); err != nil {
		return nil, s.explain(err)
	}
	return &Process{cmd, s}, nil
}

// command makes the agent's command of ours.
func (s *Session) command(ctx context.Context, c Command) (*agent.Cmd, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("no command")
	}
	cmd := s.agent.Command(ctx, c.Args[0], c.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.TTY, cmd.Rows, cmd.Cols = c.TTY, c.Rows, c.Cols
	if cmd.Env = c.Env; cmd.Env == nil {
		cmd.Env = Environ(os.Environ())
	}
	cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], Variable+"=1")
	var err error
	if cmd.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, err
	}
	if cmd.Binds, err = binds(c.Shares); err != nil {
		return nil, err
	}
	return cmd, nil
}

// binds puts the shared files over the ones that the lab keeps for itself, and then hides the way by which the
// command could reach any file of the host's: what removes all that it finds under /run shall not find them.
func binds(shares []string) ([]agent.Bind, error) {
	var list []agent.Bind
	for _, share := range shares {
		path, err := filepath.Abs(share)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", share, err)
		}
		if path == "/" {
			return nil, fmt.Errorf("share %s: %w: share folders below it", share, errors.ErrUnsupported)
		}
		list = append(list, agent.Bind{Source: filepath.Join(shareRoot, path), Target: path})
	}
	return append(list, agent.Bind{Source: coverRoot, Target: shareRoot}), nil
}

// Wait waits for the command to end. Its error is agent.Cmd's, or ErrDied if the lab went down.
func (p *Process) Wait() error { return p.session.explain(p.Cmd.Wait()) }

// explain gives the lab's end as the cause of what failed because of it.
func (s *Session) explain(err error) error {
	if !errors.Is(err, agent.ErrClosed) {
		return err
	}
	// The command's streams end before the session does, which the supervisor closes when it has put on record why.
	select {
	case <-s.agent.Done():
	case <-time.After(stopLimit):
	}
	return fmt.Errorf("lab: %w", s.dir.died(s.supervisor))
}

// Exec runs a command in the lab and waits for it; a lab is started if none is up. Its error is agent.Cmd's:
// *agent.ExitError for a status other than 0, and agent.ExitStatus makes one of every error.
func Exec(ctx context.Context, o Options, c Command) error {
	s, err := Connect(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := s.Start(ctx, c)
	if err != nil {
		return err
	}
	return p.Wait()
}
