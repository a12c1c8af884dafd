package agent

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/guest/agent/agentpb"
	"tandem/guest/program"
)

// spec is a StartRequest that has been checked.
type spec struct {
	args, env      []string
	dir            string
	user           string
	binds          []Bind
	limits         Limits
	stdin          bool
	stdout, stderr bool
	stderrToStdout bool
	tty            bool
	size           unix.Winsize
	waitDelay      time.Duration
}

func newSpec(s *Server, req *agentpb.StartRequest) (*spec, error) {
	p := &spec{
		args:           toStrings(req.Args),
		env:            toStrings(req.Env),
		dir:            string(req.Dir),
		user:           req.User,
		limits:         Limits{Memory: req.Limits.GetMemory(), Pids: req.Limits.GetPids()},
		stdin:          req.Stdin,
		stdout:         req.Stdout,
		stderr:         req.Stderr,
		stderrToStdout: req.StderrToStdout,
		tty:            req.Terminal != nil,
		waitDelay:      max(0, time.Duration(req.WaitDelayNs)),
	}
	if req.DefaultEnv {
		p.env = program.Environ(s.environ(), p.env)
	} else {
		p.env = program.Environ(p.env)
	}
	if p.dir == "" {
		p.dir = "/"
	}
	for _, b := range req.Binds {
		p.binds = append(p.binds, Bind{string(b.Source), string(b.Target), b.ReadOnly})
	}
	if p.tty {
		var err error
		if p.size, err = winsize(req.Terminal); err != nil {
			return nil, err
		}
	}
	return p, p.validate()
}

func (p *spec) validate() error {
	for _, text := range slices.Concat(p.args, p.env, []string{p.dir, p.user}) {
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("%q holds a zero byte", text)
		}
	}
	if len(p.args) == 0 || p.args[0] == "" {
		return errors.New("no program named")
	}
	if !path.IsAbs(p.dir) {
		return fmt.Errorf("working directory %q is not an absolute path", p.dir)
	}
	if p.tty && (p.stderr || p.stderrToStdout) {
		return errors.New("a terminal has no stderr of its own")
	}
	if p.stderr && p.stderrToStdout {
		return errors.New("stderr is wanted both apart and with stdout")
	}
	if p.stderrToStdout && !p.stdout {
		return errors.New("stderr is wanted with stdout, which is not")
	}
	for _, b := range p.binds {
		if !path.IsAbs(b.Source) || !path.IsAbs(b.Target) {
			return fmt.Errorf("bind mount of %q at %q: not absolute paths", b.Source, b.Target)
		}
	}
	return nil
}

func (s *Server) environ() []string {
	if s.Env != nil {
		return s.Env
	}
	return os.Environ()
}

func toStrings(in [][]byte) []string {
	out := make([]string, len(in))
	for i, b := range in {
		out[i] = string(b)
	}
	return out
}

// credential looks the user up in the guest. Nil is the agent's own, root.
func (p *spec) credential() (*syscall.Credential, error) {
	if p.user == "" {
		return nil, nil
	}
	name, groupName, hasGroup := strings.Cut(p.user, ":")
	cred := &syscall.Credential{}
	u, err := user.Lookup(name)
	if isNumber(name) && err != nil {
		u, err = user.LookupId(name)
	}
	switch {
	case err == nil:
		cred.Uid, cred.Gid = atoi(u.Uid), atoi(u.Gid)
		groups, err := u.GroupIds()
		if err != nil {
			return nil, fmt.Errorf("groups of user %q: %w", name, err)
		}
		for _, g := range groups {
			cred.Groups = append(cred.Groups, atoi(g))
		}
	case isNumber(name): // needs no entry in /etc/passwd
		cred.Uid = atoi(name)
	default:
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if !hasGroup {
		return cred, nil
	}
	cred.Groups = nil
	g, err := user.LookupGroup(groupName)
	switch {
	case err == nil:
		cred.Gid = atoi(g.Gid)
	case isNumber(groupName):
		cred.Gid = atoi(groupName)
	default:
		return nil, fmt.Errorf("group %q: %w", groupName, err)
	}
	return cred, nil
}

func isNumber(s string) bool {
	// The highest number means "no change" to the kernel.
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && n != math.MaxUint32
}

// atoi is for what isNumber, or os/user, has checked.
func atoi(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

func winsize(t *agentpb.Terminal) (unix.Winsize, error) {
	if t.GetRows() > math.MaxUint16 || t.GetCols() > math.MaxUint16 {
		return unix.Winsize{}, fmt.Errorf("terminal size %d by %d", t.GetRows(), t.GetCols())
	}
	return unix.Winsize{Row: uint16(t.GetRows()), Col: uint16(t.GetCols())}, nil
}
