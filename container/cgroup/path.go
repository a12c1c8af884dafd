package cgroup

import (
	"fmt"
	"path"
	"strings"
)

const (
	pathField = "linux.cgroupsPath"
	maxName   = 255 // NAME_MAX
)

// Path is where a group shall be in each hierarchy. The zero Path is not valid; ParsePath makes one.
type Path struct {
	clean    string // begins with a slash
	relative bool   // to the caller's own group
}

// ParsePath reads the specification's linux.cgroupsPath. One with a slash at its front is taken from the top of each
// hierarchy. Any other is relative: below the caller's own group in version 1, beside it in version 2, where a group
// that holds processes can have none below it that are limited. If there is none, the container's id is a relative
// path.
//
// The form "slice:prefix:name" asks systemd to make the group, which this engine does not do.
func ParsePath(cgroupsPath, id string) (Path, error) {
	if cgroupsPath == "" {
		if err := CheckID(id); err != nil {
			return Path{}, err
		}
		return Path{clean: "/" + id, relative: true}, nil
	}
	if isSystemdPath(cgroupsPath) {
		return Path{}, unsupported(pathField, fmt.Sprintf("%q", cgroupsPath),
			"a path of the systemd driver (slice:prefix:name); use the cgroupfs driver and a path such as /%s", id)
	}
	if err := checkComponents(pathField, cgroupsPath); err != nil {
		return Path{}, err
	}
	p := Path{clean: path.Clean("/" + cgroupsPath), relative: cgroupsPath[0] != '/'}
	if p.clean == "/" {
		return Path{}, invalid(pathField, fmt.Sprintf("%q", cgroupsPath), "the topmost group is everybody's")
	}
	return p, nil
}

// isSystemdPath tells what runc's and crun's systemd driver would read as a slice, a prefix and a name.
func isSystemdPath(p string) bool {
	return strings.Count(p, ":") == 2 && !strings.Contains(p, "/")
}

func checkComponents(field, p string) error {
	for name := range strings.SplitSeq(p, "/") {
		if err := checkName(name); err != nil {
			return &FieldError{field, fmt.Sprintf("%q", p), err}
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "..":
		return fmt.Errorf("%w: has .. in it, which leads up and out", ErrInvalid)
	case len(name) > maxName:
		return fmt.Errorf("%w: a name of %d bytes, the file system allows %d", ErrInvalid, len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: a control character in a name", ErrInvalid)
	}
	return nil
}

// CheckID tells whether a container's id can be the name of a group: letters, digits and any of "_+-.", as runc has it.
func CheckID(id string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_+-.", r)
	}
	switch {
	case id == "" || id == "." || id == "..":
		return invalid("container id", fmt.Sprintf("%q", id), "not a name")
	case len(id) > maxName:
		return invalid("container id", fmt.Sprintf("%.32q...", id), "longer than %d bytes", maxName)
	case strings.ContainsFunc(id, func(r rune) bool { return !ok(r) }):
		return invalid("container id", fmt.Sprintf("%q", id), "letters, digits and _+-. alone are allowed")
	}
	return nil
}

// String is the path as it was asked for, cleaned.
func (p Path) String() string {
	if p.relative {
		return strings.TrimPrefix(p.clean, "/")
	}
	return p.clean
}

// in is the path below a hierarchy's mount.
func (p Path) in(h Hierarchy) string {
	if !p.relative {
		return p.clean
	}
	base := h.Self
	if h.Version == 2 {
		base = path.Dir(base)
	}
	return path.Join("/", base, p.clean)
}
