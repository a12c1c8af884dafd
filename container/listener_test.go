package container

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// listenerSocket is a socket that seccomp listeners are sent to. The function waits for one, and tells what came with it, and
// what kind of file it is.
func listenerSocket(t *testing.T, dir string) (path string, next func() (specs.ContainerProcessState, string)) {
	t.Helper()
	path = filepath.Join(dir, "listener")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	return path, func() (state specs.ContainerProcessState, kind string) {
		t.Helper()
		if err := l.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		conn, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		buf, control := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4))
		n, controlLen, _, _, err := conn.ReadMsgUnix(buf, control)
		if err == nil {
			err = json.Unmarshal(buf[:n], &state)
		}
		if err != nil {
			t.Fatal(err)
		}
		messages, err := unix.ParseSocketControlMessage(control[:controlLen])
		if err != nil || len(messages) != 1 {
			t.Fatalf("%d control messages, %v", len(messages), err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("%d descriptors, %v", len(fds), err)
		}
		defer unix.Close(fds[0])
		kind, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fds[0]))
		if err != nil {
			t.Fatal(err)
		}
		return state, kind
	}
}

// asking is a filter that asks about a system call that no test makes.
func asking(path string, more ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "mine",
		Syscalls: append(more, specs.LinuxSyscall{Names: []string{"swapon"}, Action: specs.ActNotify}),
	}
}

const listenerKind = "anon_inode:seccomp notify"

// The listener gets out of a process that may send it, and of one whose filter is against that.
func TestSeccompListener(t *testing.T) {
	b := newBench(t)
	path, next := listenerSocket(t, t.TempDir())
	for _, filter := range []*specs.LinuxSeccomp{
		asking(path),
		asking(path, specs.LinuxSyscall{Names: []string{"sendmsg"}, Action: specs.ActErrno}),
		asking(path, specs.LinuxSyscall{Names: []string{"sendmsg"}, Action: specs.ActNotify}),
	} {
		c := b.running(func(s *Spec) { s.Config.Linux.Seccomp = filter })
		state, kind := next()
		if kind != listenerKind || state.Metadata != "mine" || state.Pid != c.state.Init.PID || state.State.ID != c.ID() || state.State.Status != specs.StateCreating {
			t.Errorf("%v: %q of %+v", filter.Syscalls, kind, state)
		}
		if _, err := b.inside(c, ExecSpec{}, "true"); err != nil {
			t.Error(err)
		}
		if state, kind := next(); kind != listenerKind || state.Pid == c.state.Init.PID {
			t.Errorf("%v, of a process started later: %q of %+v", filter.Syscalls, kind, state)
		}
	}
}

// Whoever is not root has no right to look into a process, even of a user namespace of his own: its memory is a copy of the
// runtime's, and belongs to the namespace that the runtime is in.
func TestSeccompListenerOfAUser(t *testing.T) {
	testenv.Need(t, testenv.UserNS)
	b := newBench(t)
	b.giveRoot(100000)
	dir := filepath.Join(filepath.Dir(b.root), "user")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 100000, 100000); err != nil {
		t.Fatal(err)
	}
	path, next := listenerSocket(t, dir)
	s := b.spec("true")
	s.Config.Linux.CgroupsPath = ""
	s.Config.Linux.Seccomp = asking(path)
	s.Config.Linux.Namespaces = append(s.Config.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Config.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 1}}
	s.Config.Linux.GIDMappings = s.Config.Linux.UIDMappings
	user := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 100000, Gid: 100000}}
	status, out := b.elsewhere(runRequest{State: dir, ID: s.ID, Bundle: dir, Config: s.Config}, user)
	if status != 0 {
		t.Fatalf("status %d, %s", status, out)
	}
	if state, kind := next(); kind != listenerKind || state.State.ID != s.ID {
		t.Errorf("%q of %+v", kind, state)
	}
}
