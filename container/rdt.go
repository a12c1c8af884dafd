package container

import (
	"fmt"
	"path/filepath"

	"tandem/container/resctrl"
)

// rdtState is the class of service that a container is in.
type rdtState struct {
	Path  string   `json:"path"`
	Tasks []string `json:"tasks"`           // where the numbers of its processes go
	Owned []string `json:"owned,omitempty"` // what goes with the container
}

// rdtGroup plans linux.intelRdt. Nil is none.
func (e *Engine) rdtGroup(s *Spec) (*resctrl.Group, error) {
	r := s.Config.Linux.IntelRdt
	if r == nil {
		return nil, nil
	}
	root := e.resctrl
	if root == "" {
		var err error
		if root, err = resctrl.Find(); err != nil {
			return nil, err
		}
	}
	return resctrl.New(root, s.ID, r)
}

// joinRDT puts a process that is started later into the container's class.
func (c *Container) joinRDT(pid int) error {
	if c.state.RDT == nil {
		return nil
	}
	for _, file := range c.state.RDT.Tasks {
		if err := resctrl.Join(file, pid); err != nil {
			return err
		}
	}
	return nil
}

// UpdateIntelRdt changes lines of the schemata of a container's class of service: "L3:0=f;1=f", "MB:0=20".
func (c *Container) UpdateIntelRdt(lines ...string) error {
	if c.state.RDT == nil {
		return c.wrap("update", fmt.Errorf("%w: the container has no linux.intelRdt, and so no class of service of its own", ErrNotSupported))
	}
	text, err := resctrl.Lines(lines)
	if err == nil {
		err = resctrl.Write(filepath.Join(c.state.RDT.Path, "schemata"), text)
	}
	return c.wrap("update", err)
}
