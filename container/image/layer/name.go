package layer

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// The names that stand for something else. OCI image specification, layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // of what AUFS, which whiteouts come from, keeps for itself
)

const maxName = 255 // NAME_MAX

// cleanName gives the path of an entry without what means nothing: "./a//b/" is "a/b", and the root is ".".
func cleanName(name string) (string, error) {
	switch {
	case name == "":
		return "", fmt.Errorf("empty: %w", ErrName)
	case len(name) >= unix.PathMax:
		return "", fmt.Errorf("%.40q... has %d bytes, a path has less than %d: %w", name, len(name), unix.PathMax, ErrName)
	case strings.Trim(name, "/") == "":
		return ".", nil
	case name[0] == '/':
		return "", fmt.Errorf("%q is absolute, and so %w", name, ErrEscape)
	case strings.IndexByte(name, 0) >= 0:
		return "", fmt.Errorf("%q has a zero byte: %w", name, ErrName)
	}
	if usual := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/"); isClean(usual) {
		return usual, nil
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			return "", fmt.Errorf("%q %w", name, ErrEscape)
		case len(part) > maxName:
			return "", fmt.Errorf("%.40q... has %d bytes, a name has at most %d: %w", part, len(part), maxName, ErrName)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ".", nil
	}
	return strings.Join(parts, "/"), nil
}

// isClean tells, without making anything, whether cleanName has nothing to do: so it is with almost all names.
func isClean(name string) bool {
	for start := 0; start <= len(name); {
		end := strings.IndexByte(name[start:], '/')
		if end < 0 {
			end = len(name) - start
		}
		switch part := name[start : start+end]; {
		case part == "", part == ".", part == "..", len(part) > maxName:
			return false
		}
		start += end + 1
	}
	return true
}

// split gives the parent and the last part of a clean path other than the root.
func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", path
	}
	return path[:i], path[i+1:]
}

// join is the inverse of split.
func join(parent, name string) string {
	if parent == "." {
		return name
	}
	return parent + "/" + name
}

// What a name in an archive means.
type meaning int

const (
	itself   meaning = iota
	whiteout         // of the path that readName gives
	opaque           // so is the path that readName gives
	nothing          // AUFS's own
)

// readName tells what an entry's name means, and for which path.
func readName(path string) (meaning, string, error) {
	if !strings.Contains(path, whiteoutPrefix) {
		return itself, path, nil
	}
	parent, name := split(path)
	for part := range strings.SplitSeq(parent, "/") {
		if strings.HasPrefix(part, metaPrefix) {
			return nothing, "", nil
		}
		if strings.HasPrefix(part, whiteoutPrefix) {
			return 0, "", fmt.Errorf("%q has a whiteout for a folder: %w", path, ErrName)
		}
	}
	switch gone, is := strings.CutPrefix(name, whiteoutPrefix); {
	case !is:
		return itself, path, nil
	case name == opaqueName:
		return opaque, parent, nil
	case strings.HasPrefix(name, metaPrefix):
		return nothing, "", nil
	case gone == "":
		return 0, "", fmt.Errorf("%q is a whiteout of nothing: %w", path, ErrName)
	case gone == "." || gone == "..":
		return 0, "", fmt.Errorf("%q is a whiteout that %w", path, ErrEscape)
	default:
		return whiteout, join(parent, gone), nil
	}
}
