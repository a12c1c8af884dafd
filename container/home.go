package container

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// withHome adds HOME to the environment if it is not there, as runc does: what the container's own passwd says, or "/".
func withHome(p *specs.Process, folders []string) []string {
	if slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		return p.Env
	}
	home := "/"
	for _, folder := range folders {
		if found, ok := homeIn(folder, p.User.UID); ok {
			home = found
			break
		}
	}
	return append(slices.Clone(p.Env), "HOME="+home)
}

// maxPasswd bounds what is read of a file that the container's image brought.
const maxPasswd = 1 << 20

// homeIn looks a user up in the passwd below a folder, which cannot lead out of it.
func homeIn(folder string, uid uint32) (home string, ok bool) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", false
	}
	defer root.Close()
	info, err := root.Stat("etc/passwd")
	if err != nil || !info.Mode().IsRegular() { // a FIFO would hold us up for ever, and to open a device may do something
		return "", false
	}
	f, err := root.OpenFile("etc/passwd", os.O_RDONLY|unix.O_NONBLOCK, 0) // a container that runs may have changed it meanwhile
	if err != nil {
		return "", false
	}
	defer f.Close()
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		return "", false
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxPasswd))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":") // passwd(5)
		if len(fields) == 7 && fields[2] == strconv.FormatUint(uint64(uid), 10) && strings.HasPrefix(fields[5], "/") {
			return fields[5], true
		}
	}
	return "", false
}
