package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/container/cgroup"
	"tandem/container/child"
	"tandem/internal/kernfile"
)

// joinExec puts a process that is started later into the container's cgroup, or into one below it. It joins: a group that is
// full takes one who joins it, and none who is born in it.
func (c *Container) joinExec(p *child.Program, s *ExecSpec) error {
	g, err := c.Cgroup()
	if err != nil {
		return err
	}
	if len(s.Cgroups) > 0 {
		if g == nil {
			return fmt.Errorf("%w: a cgroup below that of a container that has none of its own", ErrNotSupported)
		}
		if g, err = g.Below(s.Cgroups); err != nil {
			return err
		}
	}
	if g != nil && len(s.Cgroups) == 0 && g.Divided() {
		c.joinBesideInit(p, g.JoinFiles(false)[0])
		return nil
	}
	joinCgroup(p, g, false)
	return nil
}

// joinBesideInit is for a container that has divided its group, as one does that is a host of containers itself: it has moved
// its processes into groups below then, and where its first one is there is room for another.
func (c *Container) joinBesideInit(p *child.Program, path string) {
	p.Phase("join the cgroup")
	inner, done := p.Label(), p.Label()
	joinFile(p, path, "0 is the writer itself", openJoin(path)).Else(unix.EBUSY, inner).Else(unix.EOPNOTSUPP, inner)
	p.Jump(done)
	p.Bind(inner)
	joinFile(p, "the first process's own group", "the container's has groups below it, and takes no process", func() (*os.File, error) {
		return openBeside(c.state.Init.PID, path)
	})
	p.Bind(done)
}

// openBeside opens the way into the version 2 group that a process is in.
func openBeside(pid int, otherwise string) (*os.File, error) {
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	own, err := host.Of(pid)
	if err != nil {
		return openJoin(otherwise)() // whose refusal is the better error
	}
	return openJoin(own.JoinFiles(false)[0])()
}

func openJoin(path string) func() (*os.File, error) {
	return func() (*os.File, error) { return kernfile.Open(path, unix.O_WRONLY) }
}

func joinFile(p *child.Program, object, why string, open func() (*os.File, error)) child.Call {
	return p.Call("write", unix.SYS_WRITE, object, why, p.Late("fd", object, open), p.Bytes("data", []byte("0"), `"0"`),
		child.Int("size", 1))
}
