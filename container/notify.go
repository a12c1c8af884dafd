package container

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// A container's process that tells when it is ready, by sd_notify(3), sends a datagram to the socket that NOTIFY_SOCKET names.
// The service manager's own socket is not shown to it: whoever may write there may speak for other services. It gets a folder
// of its own, at runc's place, with a socket that whoever starts it listens at, and passes on what is to be passed on.
const (
	notifyDir    = "notify"
	notifySocket = "notify.sock"
	notifyInside = "/run/notify"
)

// withNotify puts the socket's folder, and its name, into a copy of the configuration.
func withNotify(c *specs.Spec, folder string) *specs.Spec {
	with, process := *c, *c.Process
	process.Env = slices.DeleteFunc(slices.Clone(process.Env), func(e string) bool { return strings.HasPrefix(e, "NOTIFY_SOCKET=") })
	process.Env = append(process.Env, "NOTIFY_SOCKET="+path.Join(notifyInside, notifySocket))
	with.Process = &process
	with.Mounts = append(c.Mounts[:len(c.Mounts):len(c.Mounts)], specs.Mount{
		Destination: notifyInside, Type: "bind", Source: folder, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	})
	return &with
}

func (a *assembly) notifyStep() plan.Step {
	folder := filepath.Join(a.dir(), notifyDir)
	return plan.Step{
		Op: "mkdir", Object: folder, Args: []plan.Arg{plan.A("mode", "0755")}, Why: "where the socket will be that the process tells its state to",
		Do: func() error { return os.Mkdir(folder, 0o755) },
	}
}

// Notify listens for what the container's process tells by sd_notify(3), if Spec.Notify was asked for when it was made; if not
// it is nil. It is to be called before Start; Engine.Run has done so. What is told before somebody listens is lost. Whoever asks
// for Spec.Notify has to call it, and to close what it gives.
func (c *Container) Notify() (*net.UnixConn, error) {
	if !c.state.Notify {
		return nil, nil
	}
	if c.notify == nil {
		var err error
		if c.notify, err = c.listen(); err != nil {
			return nil, c.wrap("listen for sd_notify", err)
		}
	}
	return c.notify, nil
}

// listen makes the socket anew: one whose listener has gone refuses all that is sent to it. Whoever the process is, it may
// write to it. Its path may be longer than an address can be, and so goes by the folder's descriptor.
func (c *Container) listen() (*net.UnixConn, error) {
	dir, err := os.OpenFile(filepath.Join(c.dir(), notifyDir), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), notifySocket)
	if err := os.Remove(short); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: short, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(short, 0o777); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
