package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/process"
)

// sayVariable makes this test's program a service: it tells the variable's value to its manager, and waits for its end.
const sayVariable = "TANDEM_OCI_TEST_SAY"

func say(message string) int {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, part := range strings.Split(message, "|") {
		if part == "exit" {
			return 0
		}
		if _, err := conn.Write([]byte(part)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	for {
		_ = unix.Pause()
	}
}

// service puts this test's program into a container, as a service.
func service(t *testing.T, message string) func(*specs.Spec) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(s *specs.Spec) {
		for _, dir := range []string{"/usr", "/lib", "/lib64", self} { // it may be linked to libraries
			if _, err := os.Stat(dir); err == nil {
				to := dir
				if dir == self {
					to = "/service"
				}
				s.Mounts = append(s.Mounts, specs.Mount{Destination: to, Type: "bind", Source: dir, Options: []string{"rbind", "ro"}})
			}
		}
		s.Process.Env = append(s.Process.Env, sayVariable+"="+message, "NOTIFY_SOCKET=/nobody/listens/here")
	}
}

// manager is a service manager: it gathers what it is told, up to a barrier, which it lets pass.
func manager(t *testing.T) (socket string, told func() []string) {
	t.Helper()
	socket = filepath.Join(openTemp(t), "manager.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	messages := make(chan []string, 1)
	go func() {
		defer close(messages)
		var all []string
		for {
			buf, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
			n, controlLen, _, _, err := conn.ReadMsgUnix(buf, control)
			if err != nil {
				return
			}
			all = append(all, string(buf[:n]))
			if string(buf[:n]) != "BARRIER=1" {
				continue
			}
			messages <- all
			parsed, err := unix.ParseSocketControlMessage(control[:controlLen])
			if err == nil && len(parsed) == 1 {
				fds, _ := unix.ParseUnixRights(&parsed[0])
				for _, fd := range fds {
					unix.Close(fd)
				}
			}
			return
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		for range messages {
		}
	})
	return socket, func() []string {
		t.Helper()
		select {
		case all := <-messages:
			return all
		case <-time.After(time.Minute):
			t.Fatal("the manager was told nothing")
			return nil
		}
	}
}

func (o *oci) notified(socket string, args ...string) *exec.Cmd {
	cmd := o.command(args...)
	cmd.Env = append(os.Environ(), notifyVariable+"="+socket)
	return cmd
}

func TestNotify(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	t.Cleanup(func() { _ = exec.Command(o.bin, "--root", o.root, "delete", "--force", "box").Run() })
	o.configure(service(t, "STATUS=soon|MAINPID=1|STATUS=now\nREADY=1\nFDSTORE=1"), "/service")
	for _, test := range []struct {
		name  string
		verbs [][]string
	}{
		{"create and start", [][]string{{"create", "box"}, {"start", "box"}}},
		{"run --detach", [][]string{{"run", "--detach", "box"}}},
	} {
		socket, told := manager(t)
		for _, verb := range test.verbs {
			if r := o.runCommand(o.notified(socket, verb...)); r.status != 0 {
				t.Fatalf("%s: %v = %d, %s", test.name, verb, r.status, r.stderr)
			}
		}
		want := []string{"READY=1\n", fmt.Sprintf("MAINPID=%d\n", o.state("box").PID), "BARRIER=1"}
		if got := told(); !slices.Equal(got, want) {
			t.Errorf("%s: the manager was told %q, want %q", test.name, got, want)
		}
		o.must("delete", "--force", "box")
	}
}

// In the foreground tandem-oci is the service's process itself.
func TestNotifyInForeground(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	t.Cleanup(func() { _ = exec.Command(o.bin, "--root", o.root, "delete", "--force", "box").Run() })
	o.configure(service(t, "READY=1"), "/service")
	socket, told := manager(t)
	cmd := o.notified(socket, "run", "box")
	cmd.Stderr = o.file("stderr")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want := []string{"READY=1\n", fmt.Sprintf("MAINPID=%d\n", cmd.Process.Pid), "BARRIER=1"}
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("the manager was told %q, want %q", got, want)
	}
	o.must("kill", "box", "KILL")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 128+9 {
		t.Errorf("exit status %d", got)
	}
}

// A service that ends without a word holds nobody up; and without a manager nobody waits for one.
func TestNotifyOfNobody(t *testing.T) {
	needContainers(t)
	o := newOCI(t)
	t.Cleanup(func() { _ = exec.Command(o.bin, "--root", o.root, "delete", "--force", "box").Run() })
	o.configure(service(t, "STATUS=never|exit"), "/service")
	socket, _ := manager(t)
	for _, verb := range [][]string{{"create", "box"}, {"start", "box"}} {
		if r := o.runCommand(o.notified(socket, verb...)); r.status != 0 {
			t.Fatalf("%v = %d, %s", verb, r.status, r.stderr)
		}
	}
	o.must("delete", "--force", "box")
	o.configure(nil, "sh", "-c", "echo socket=$NOTIFY_SOCKET")
	if out := o.must("run", "box"); out != "socket=\n" {
		t.Errorf("without a manager the container has %q", out)
	}
}

// What a service has told is passed on, though its end is seen first.
func TestNotifyOfOneThatHasEnded(t *testing.T) {
	socket, told := manager(t)
	t.Setenv(notifyVariable, socket)
	path := filepath.Join(openTemp(t), "notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	service, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	for _, message := range []string{"STATUS=soon", "", "STATUS=now\nREADY=1"} {
		if _, err := service.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	pidFD, err := self.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer pidFD.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // as its end does, of which comes:
	if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := passOn(ctx, conn, pidFD, 4711); err != nil {
		t.Fatal(err)
	}
	if got, want := told(), []string{"READY=1\n", "MAINPID=4711\n", "BARRIER=1"}; !slices.Equal(got, want) {
		t.Errorf("the manager was told %q, want %q", got, want)
	}
}
