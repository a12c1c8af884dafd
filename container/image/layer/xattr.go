package layer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// readXattrs gives the extended attributes among an entry's pax records: as star and GNU tar write them, which is what
// the OCI image specification asks for, and as bsdtar does.
func readXattrs(records map[string]string) (map[string]string, error) {
	var attrs map[string]string
	add := func(name, value string) {
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[name] = value
	}
	for key, value := range records {
		if name, ok := strings.CutPrefix(key, "LIBARCHIVE.xattr."); ok {
			name, err := url.PathUnescape(name)
			if err != nil {
				return nil, fmt.Errorf("attribute %q: %w", key, ErrArchive)
			}
			raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
			if err != nil {
				return nil, fmt.Errorf("attribute %q: %w: %w", key, ErrArchive, err)
			}
			add(name, string(raw))
		}
	}
	for key, value := range records {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			add(name, value)
		}
	}
	return attrs, nil
}

const (
	trustedOverlay = "trusted.overlay."
	userOverlay    = "user.overlay."
)

// overlay is the name of an attribute that overlayfs reads.
func (u *unpacker) overlay(name string) string {
	if u.UserXattr {
		return userOverlay + name
	}
	return trustedOverlay + name
}

// xattrName tells under which name an attribute is kept; empty is not at all. Labels of a security module are for the
// engine to set. Those that overlayfs reads would let an image redirect its folders: they are kept under the name that
// overlayfs shows as the one that was meant (overlayfs.rst, "Nested mounts"), so that an image of an overlay is whole.
func (u *unpacker) xattrName(name string) string {
	switch {
	case name == "security.capability":
		return name
	case strings.HasPrefix(name, userOverlay):
		if u.UserXattr {
			return userOverlay + "overlay." + name[len(userOverlay):]
		}
		return "" // a mount with userxattr would read it, whoever makes that
	case strings.HasPrefix(name, trustedOverlay):
		if !u.UserXattr {
			return trustedOverlay + "overlay." + name[len(trustedOverlay):]
		}
		return ""
	case strings.HasPrefix(name, "user."):
		return name
	case strings.HasPrefix(name, "trusted.") && !u.UserXattr:
		return name
	case (name == "system.posix_acl_access" || name == "system.posix_acl_default") && u.Owner == nil:
		return name // it has owners in it, which nobody maps
	}
	return ""
}

// setXattrs sets an entry's attributes and forgets those that could not be kept.
func (u *unpacker) setXattrs(e *Entry, set func(name string, value []byte) error) error {
	if len(e.Xattrs) == 0 {
		return nil
	}
	names := make([]string, 0, len(e.Xattrs))
	for name := range e.Xattrs {
		names = append(names, name)
	}
	slices.Sort(names)
	kept := map[string]string{}
	for _, name := range names {
		as := u.xattrName(name)
		if as == "" || strings.IndexByte(as, 0) >= 0 {
			u.skip("%s: attribute %s", e.Path, name)
			continue
		}
		err := set(as, []byte(e.Xattrs[name]))
		switch {
		case err == nil:
			kept[name] = e.Xattrs[name]
		case u.dispensable(name) && (errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM)):
			u.skip("%s: attribute %s: %v", e.Path, name, err)
		default:
			return fmt.Errorf("set the attribute %.100q to %d bytes: %w", name, len(e.Xattrs[name]), err)
		}
	}
	e.Xattrs = kept
	return nil
}

// dispensable tells whether a file may do without an attribute. A program without its capabilities does not work; an
// unprivileged user cannot give it any.
func (u *unpacker) dispensable(name string) bool { return name != "security.capability" || u.UserXattr }
