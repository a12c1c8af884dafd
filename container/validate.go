package container

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// parseVersion reads a version of the specification, 1.x.y with perhaps more behind it, and gives its second number.
func parseVersion(version string) (minor int, ok bool) {
	rest, ok := strings.CutPrefix(version, "1.")
	text, rest, dot := strings.Cut(rest, ".")
	patch := rest
	if i := strings.IndexAny(rest, "-+"); i >= 0 {
		patch = rest[:i]
	}
	minor, err := strconv.Atoi(text)
	return minor, ok && dot && err == nil && isNumber(text) && isNumber(patch) && !strings.Contains(rest, "\n")
}

func isVersion(version string) bool {
	_, ok := parseVersion(version)
	return ok
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// minorVersion is the second number of a version of the specification.
func minorVersion(version string) int {
	minor, ok := parseVersion(version)
	if !ok {
		return 0
	}
	return minor
}

// check finds what is wrong with a specification, beyond what its parts find themselves.
func (s *Spec) check() error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	c := s.Config
	switch {
	case c == nil:
		return invalid("there is no configuration")
	case !isVersion(c.Version):
		return invalid("ociVersion %q, want 1.x.y", c.Version)
	case c.Root == nil && s.Overlay == nil:
		return invalid("root is missing")
	case s.Overlay == nil && c.Root.Path == "":
		return invalid("root.path is empty")
	case !filepath.IsAbs(s.Bundle):
		return invalid("the bundle's path %q is not absolute", s.Bundle)
	case c.Linux == nil:
		return invalid("linux is missing")
	case s.ConsoleSocket != "" && (c.Process == nil || !c.Process.Terminal):
		return invalid("a console socket, but process.terminal is false")
	}
	if c.Process != nil {
		if err := checkProcess(c.Process); err != nil {
			return err
		}
	}
	return checkHooks(c.Hooks)
}

func checkProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return invalid("process.args is empty")
	case !filepath.IsAbs(p.Cwd):
		return invalid("process.cwd %q is not absolute", p.Cwd)
	}
	for i, e := range p.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return invalid("process.env[%d] %q is not NAME=VALUE", i, e)
		}
	}
	seen := make(map[string]bool)
	for i, r := range p.Rlimits {
		if _, ok := rlimitNumbers[r.Type]; !ok {
			return invalid("process.rlimits[%d].type %q", i, r.Type)
		}
		if seen[r.Type] {
			return invalid("process.rlimits has two of type %s", r.Type)
		}
		if r.Soft > r.Hard {
			return invalid("process.rlimits[%d]: soft %d is above hard %d", i, r.Soft, r.Hard)
		}
		seen[r.Type] = true
	}
	if a := p.OOMScoreAdj; a != nil && (*a < -1000 || *a > 1000) {
		return invalid("process.oomScoreAdj %d, possible are -1000 to 1000", *a)
	}
	_, err := parseAffinity(p.ExecCPUAffinity)
	return err
}

func checkHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for name, hooks := range map[string][]specs.Hook{
		"prestart": prestart(h), "createRuntime": h.CreateRuntime, "createContainer": h.CreateContainer,
		"startContainer": h.StartContainer, "poststart": h.Poststart, "poststop": h.Poststop,
	} {
		for i, hook := range hooks {
			if !filepath.IsAbs(hook.Path) {
				return invalid("hooks.%s[%d].path %q is not absolute", name, i, hook.Path)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return invalid("hooks.%s[%d].timeout %d, want more than 0", name, i, *hook.Timeout)
			}
		}
	}
	return nil
}

var rlimitNumbers = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_STACK": unix.RLIMIT_STACK,
}

// checkMappings wants maps where there is a new user namespace, and none where there is none.
func checkMappings(l *specs.Linux, n namespaces) error {
	newUser := n.new&unix.CLONE_NEWUSER != 0
	switch maps := len(l.UIDMappings) + len(l.GIDMappings); {
	case !newUser && n.join[unix.CLONE_NEWUSER] == "" && maps > 0:
		return invalid("linux.uidMappings or gidMappings without a user namespace")
	case newUser && (len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0):
		return invalid("a new user namespace without linux.uidMappings and gidMappings")
	}
	for _, m := range slices.Concat(l.UIDMappings, l.GIDMappings) {
		if m.Size == 0 || uint64(m.ContainerID)+uint64(m.Size) > 1<<32 || uint64(m.HostID)+uint64(m.Size) > 1<<32 {
			return invalid("linux ID mapping %d:%d of size %d", m.ContainerID, m.HostID, m.Size)
		}
	}
	return nil
}
