package box

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// LookupUser reads a user as docker writes it, USER[:GROUP] by name or number, and looks names up in the passwd and group
// files of a root file system. That is layers of folders, the topmost first, or a single one.
func LookupUser(layers []string, word string, more []string) (specs.User, error) {
	passwd, err := readLayered(layers, "etc/passwd")
	if err != nil {
		return specs.User{}, fmt.Errorf("--user %q: %w", word, err)
	}
	group, err := readLayered(layers, "etc/group")
	if err != nil {
		return specs.User{}, fmt.Errorf("--user %q: %w", word, err)
	}
	found, err := user.GetExecUser(word, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("--user %q: %w", word, err)
	}
	gids, err := user.GetAdditionalGroups(more, bytes.NewReader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("--group-add %q: %w", more, err)
	}
	u := specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid)}
	for _, gid := range append(found.Sgids, gids...) {
		u.AdditionalGids = append(u.AdditionalGids, uint32(gid))
	}
	return u, nil
}

// maxAccounts bounds what is read of a file that an image brought.
const maxAccounts = 4 << 20

// readLayered reads a file as an overlay of the layers would show it: of the topmost that says something of it. One that
// is not there is empty. Links are followed below the layer's own folder, and never out of it.
func readLayered(layers []string, name string) ([]byte, error) {
	for _, layer := range layers {
		text, err := readBelow(layer, name)
		if !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
	}
	return nil, nil
}

func readBelow(folder, name string) ([]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&os.ModeCharDevice != 0:
		return nil, nil // a whiteout, it may be; what else it is, is better not opened to see
	case !info.Mode().IsRegular(): // a FIFO would hold us up for ever
		return nil, fmt.Errorf("/%s of the container is no file", name)
	case info.Size() > maxAccounts:
		return nil, fmt.Errorf("/%s of the container has %d bytes, at most %d are read", name, info.Size(), maxAccounts)
	}
	// The container may have put something else there by now, and it must not hold us up.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("/%s of the container is no file", name)
	}
	return io.ReadAll(io.LimitReader(f, maxAccounts))
}
