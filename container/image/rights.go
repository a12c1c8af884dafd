package image

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/moby/sys/user"
	"github.com/moby/sys/userns"
)

// Who unpacks decides what a file can have. There are four cases:
//
//	caller                                  owners                       overlayfs's attributes
//	root of the machine                     those of the archive         trusted.overlay.*
//	root of a user namespace with its IDs   those of the archive         user.overlay.*
//	user with further IDs in /etc/subuid    those of the archive, in a   user.overlay.*
//	                                        process in a user namespace
//	user with none                          the caller                   user.overlay.*

// findRights sets how the store unpacks.
func (s *Store) findRights() error {
	s.unpack = unpackHere
	if os.Geteuid() == 0 && !userns.RunningInUserNS() && hasCapability(capability.CAP_SYS_ADMIN) {
		return nil
	}
	s.user = true
	if os.Geteuid() == 0 {
		ids, err := idCount("/proc/self/uid_map")
		s.squash = ids == 1 || !hasCapability(capability.CAP_CHOWN)
		return err
	}
	ids, err := furtherIDs()
	if err != nil {
		return err
	}
	if ids == nil {
		s.squash = true
		return nil
	}
	s.helper = &helper{ids}
	s.unpack = s.helper.unpack
	return nil
}

func hasCapability(c capability.Cap) bool {
	caps, err := capability.NewPid2(0)
	if err != nil || caps.Load() != nil {
		return false
	}
	return caps.Get(capability.EFFECTIVE, c)
}

// idMaps are the words that newuidmap and newgidmap take: ID inside, ID outside, count, and so on.
type idMaps struct{ uids, gids []string }

// furtherIDs gives the maps of a user namespace where the caller is root, and the IDs that subuid(5) and subgid(5) give
// him follow; nil if there are none, or nobody to map them.
func furtherIDs() (*idMaps, error) {
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, nil
		}
	}
	if !exists("/etc/subuid") || !exists("/etc/subgid") {
		return nil, nil
	}
	uids, err := user.CurrentUserSubUIDs()
	if err != nil {
		return nil, fmt.Errorf("further user IDs: %w", err)
	}
	gids, err := user.CurrentUserSubGIDs()
	if err != nil {
		return nil, fmt.Errorf("further group IDs: %w", err)
	}
	if len(uids) == 0 || len(gids) == 0 {
		return nil, nil
	}
	return &idMaps{mapWords(os.Geteuid(), uids), mapWords(os.Getegid(), gids)}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func mapWords(self int, ranges []user.SubID) []string {
	words := []string{"0", strconv.Itoa(self), "1"}
	next := int64(1)
	for _, r := range ranges {
		for _, n := range []int64{next, r.SubID, r.Count} {
			words = append(words, strconv.FormatInt(n, 10))
		}
		next += r.Count
	}
	return words
}

// idCount is the number of IDs that a user namespace has, by its map: see user_namespaces(7).
func idCount(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var n int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count int64
		if _, err := fmt.Sscan(strings.TrimSpace(lines.Text()), &inside, &outside, &count); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		n += count
	}
	return n, nil
}
