package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// parseUser reads UID[:GID], both numbers, as names are the business of whoever knows the image. Without a GID the
// user's stays as it is.
func parseUser(text string, user *specs.User) error {
	uid, gid, both := strings.Cut(text, ":")
	n, err := parseID(uid)
	if err != nil {
		return err
	}
	user.UID, user.Username = n, ""
	if both {
		if user.GID, err = parseID(gid); err != nil {
			return err
		}
	}
	return nil
}

// maxID is the last of the numbers: the one behind it is -1, "no change" to setresuid(2).
const maxID = 1<<32 - 2

func parseID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > maxID {
		return 0, fmt.Errorf("%q: want a number from 0 to %d", text, maxID)
	}
	return uint32(n), nil
}

// withCapabilities adds capabilities to the sets that let a process use them. The inheritable and ambient sets stay as
// they are: what is in them would be passed on to programs that were never given it (CVE-2022-29162).
func withCapabilities(caps *specs.LinuxCapabilities, add []string) *specs.LinuxCapabilities {
	if len(add) == 0 {
		return caps
	}
	var with specs.LinuxCapabilities
	if caps != nil {
		with = *caps
	}
	for _, name := range add {
		name = strings.ToUpper(name)
		if !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		for _, list := range []*[]string{&with.Bounding, &with.Effective, &with.Permitted} {
			if !slices.Contains(*list, name) {
				*list = append(slices.Clone(*list), name)
			}
		}
	}
	return &with
}

// subCgroups reads --cgroup as runc does: one PATH, or CONTROLLER[,CONTROLLER...]:PATH for each hierarchy of version 1.
func subCgroups(flags []string) (map[string]string, error) {
	paths := make(map[string]string)
	for _, flag := range flags {
		controllers, path, named := strings.Cut(flag, ":")
		if !named {
			if len(flags) > 1 {
				return nil, fmt.Errorf("--cgroup %q: want CONTROLLER:PATH, as there are several", flag)
			}
			return map[string]string{"": flag}, nil
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			_, twice := paths[controller]
			switch {
			case controller == "":
				return nil, fmt.Errorf("--cgroup %q: a controller's name is empty", flag)
			case twice:
				return nil, fmt.Errorf("--cgroup %q: the controller %s has a path already", flag, controller)
			}
			paths[controller] = path
		}
	}
	return paths, nil
}
