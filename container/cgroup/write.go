package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// steps are the writes of all settings, in their order.
func (s settings) steps(g *Group) []plan.Step {
	var steps []plan.Step
	for _, one := range s.list {
		f, ok := g.find(func(f folder) bool { return one.in(f.Hierarchy) })
		if !ok { // resolve looked for it in the hierarchies that the folders are made from
			panic(fmt.Sprintf("cgroup: %s: no folder for controller %s", one.field, one.controller))
		}
		steps = append(steps, one.step(f))
	}
	if f, ok := g.unified(); ok && s.program(f.Hierarchy) {
		steps = append(steps, s.devices.programStep(f))
	}
	return steps
}

func (s setting) step(f folder) plan.Step {
	return plan.Step{
		Op: "write", Object: f.file(s.file), Args: []plan.Arg{plan.A("value", s.value)}, Why: s.why,
		Do: func() error { return s.write(f) },
	}
}

// write puts the value, and names the field if that fails.
func (s setting) write(f folder) error {
	err := s.put(f)
	if err != nil && s.partner != nil && errors.Is(err, unix.EINVAL) {
		// The two contradict each other if the old value of the one meets the new one of the other.
		if s.partner.put(f) == nil {
			err = s.put(f)
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return s.absent(f)
	case s.hint != nil:
		err = s.hint(s, f, err)
	}
	return &FieldError{s.field, fmt.Sprintf("%q", s.value), err}
}

func (s setting) put(f folder) error {
	value := s.value
	if s.compute != nil {
		var err error
		if value, err = s.compute(f); err != nil {
			return err
		}
	}
	err := s.writeTo(f.file(s.file), value)
	for _, a := range s.or {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = s.writeTo(f.file(a.file), a.value)
	}
	return err
}

func (s setting) writeTo(path, value string) error {
	if !s.lines {
		return writeFile(path, value)
	}
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := writeFile(path, line); err != nil {
			return err
		}
	}
	return nil
}

// absent is a file that is not there: of a group that is not, or of a kernel that does not have it.
func (s setting) absent(f folder) error {
	if !exists(f.path) {
		return &FieldError{s.field, nil, ErrGone}
	}
	if s.optional {
		return nil
	}
	reason := s.lacking
	if reason == "" {
		reason = "not handed down to this group"
	}
	return &MissingError{s.controller, s.field, fmt.Sprintf("no file %s: %s", s.file, reason)}
}
