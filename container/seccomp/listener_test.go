package seccomp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// socketPath is short enough for a socket's address, which that of t.TempDir need not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "seccomp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "agent")
}

// listen is an agent's socket.
func listen(t *testing.T) (*net.UnixListener, string) {
	t.Helper()
	path := socketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

// receive takes a state and a descriptor from one connection, as an agent does.
func receive(l *net.UnixListener) (state specs.ContainerProcessState, fd int, err error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return state, -1, err
	}
	defer c.Close()
	text, rights := make([]byte, 64), make([]byte, 64)
	n, rightsLength, _, _, err := c.ReadMsgUnix(text, rights)
	if err != nil {
		return state, -1, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rightsLength])
	if err != nil {
		return state, -1, err
	}
	if len(messages) != 1 {
		return state, -1, errors.New("not one control message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return state, -1, err
	}
	if len(fds) != 1 {
		return state, -1, errors.New("not one descriptor")
	}
	rest, err := io.ReadAll(c)
	if err != nil {
		return state, fds[0], err
	}
	return state, fds[0], json.Unmarshal(append(text[:n], rest...), &state)
}

// notification and answer are struct seccomp_notif and struct seccomp_notif_resp of linux/seccomp.h.
type notification struct {
	ID    uint64
	PID   uint32
	Flags uint32
	Data  Data
}

type answer struct {
	ID    uint64
	Value int64
	Error int32
	Flags uint32
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// largeState is more than a socket takes at once.
func largeState() specs.ContainerProcessState {
	big := map[string]string{"big": strings.Repeat("x", 4<<20)}
	return specs.ContainerProcessState{State: specs.State{Annotations: big}}
}

// TestNotify has a process's calls answered by an agent.
func TestNotify(t *testing.T) {
	if size := unsafe.Sizeof(Data{}); size != dataSize {
		t.Fatalf("Data has %d bytes, struct seccomp_data %d", size, dataSize)
	}
	for name, flags := range map[string][]specs.LinuxSeccompFlag{
		"default":       nil,
		"wait killable": {specs.LinuxSeccompFlagWaitKillableRecv},
		"tsync":         {flagTSync, specs.LinuxSeccompFlagLog},
	} {
		t.Run(name, func(t *testing.T) { testNotify(t, flags) })
	}
}

func testNotify(t *testing.T, flags []specs.LinuxSeccompFlag) {
	l, path := listen(t)
	spec := permissive(on("getpriority", specs.ActNotify))
	spec.ListenerPath, spec.ListenerMetadata, spec.Flags = path, "opaque", flags
	o := order{Filter: compile(t, spec), Calls: [][]uint64{{unix.SYS_GETPRIORITY, 7, 8}, {unix.SYS_GETPRIORITY, 9}}}
	var out bytes.Buffer
	cmd := o.command(t, &out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		l.Close() // so that nobody waits for what it did not send
	}()
	state, listener, err := receive(l)
	if err != nil {
		t.Fatalf("%v; %v, printed %q", err, <-ended, out.String())
	}
	defer unix.Close(listener)
	pid := cmd.Process.Pid
	if state.Pid != pid || state.Metadata != "opaque" || len(state.Fds) != 1 || state.Fds[0] != "seccompFd" ||
		state.Version != specs.Version || state.State.Status != specs.StateCreating {
		t.Errorf("received %+v", state)
	}
	for i, a := range []answer{{Value: 4242}, {Error: -int32(unix.EXDEV)}} {
		var n notification
		if err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
			t.Fatal(err)
		}
		want := n.Data
		want.NR, want.Arch, want.Args[0] = unix.SYS_GETPRIORITY, ArchX86_64, o.Calls[i][1]
		if int(n.PID) != pid || n.Data != want {
			t.Errorf("asked about %+v, want args[0] %d", n, o.Calls[i][1])
		}
		if got := o.Filter.Evaluate(n.Data); got.Kind() != unix.SECCOMP_RET_USER_NOTIF {
			t.Errorf("Evaluate says %v of what the kernel asks about", got)
		}
		a.ID = n.ID
		if err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil || out.String() != "4242\nEXDEV\n" {
		t.Errorf("%v, printed %q", err, out.String())
	}
}

// TestSendLargeState has the descriptor go with the first part.
func TestSendLargeState(t *testing.T) {
	l, path := listen(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	sent := make(chan error, 1)
	go func() { sent <- SendListener(context.Background(), path, int(w.Fd()), largeState()) }()
	got, fd, err := receive(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if len(got.State.Annotations["big"]) != 4<<20 {
		t.Errorf("annotation of %d bytes arrived", len(got.State.Annotations["big"]))
	}
	theirs := os.NewFile(uintptr(fd), "pipe")
	defer theirs.Close()
	if _, err := theirs.WriteString("y"); err != nil {
		t.Error(err)
	}
	one := make([]byte, 1)
	if _, err := r.Read(one); err != nil || one[0] != 'y' {
		t.Errorf("through the descriptor came %q, %v", one, err)
	}
}

func TestSendToNobody(t *testing.T) {
	path := socketPath(t)
	err := SendListener(context.Background(), path, 0, specs.ContainerProcessState{})
	if !errors.Is(err, unix.ENOENT) || !strings.HasPrefix(err.Error(), "seccomp: send listener to "+path+": ") {
		t.Errorf("no agent: %v", err)
	}
	_, busy := listen(t) // it never accepts
	ctx, cancel := context.WithCancelCause(context.Background())
	gaveUp := errors.New("gave up")
	sent := make(chan error, 1)
	go func() { sent <- SendListener(ctx, busy, 0, largeState()) }()
	cancel(gaveUp)
	if err := <-sent; !errors.Is(err, gaveUp) {
		t.Errorf("an agent that does not read: %v", err)
	}
	if err := SendListener(context.Background(), busy, -1, specs.ContainerProcessState{}); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v, want EBADF", err)
	}
}
