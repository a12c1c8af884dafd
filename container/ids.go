package container

import (
	"fmt"
	"strings"
)

const maxID = 1024

// checkID keeps IDs to what is a file's name in every folder that they become one in.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the container ID is empty", ErrInvalid)
	case len(id) > maxID:
		return fmt.Errorf("%w: a container ID of %d characters, at most %d", ErrInvalid, len(id), maxID)
	case id == "." || id == "..":
		return fmt.Errorf("%w: container ID %q", ErrInvalid, id)
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_+-.,", r)) {
			return fmt.Errorf("%w: container ID %q: character %q is none of A-Z a-z 0-9 _ + - . ,", ErrInvalid, id, r)
		}
	}
	return nil
}
