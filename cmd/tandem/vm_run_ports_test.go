package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/console"

	"tandem/internal/testenv"
)

func TestParsePort(t *testing.T) {
	for text, want := range map[string]portSpec{
		"name=a,socket=/run/s":   {Name: "a", Socket: "/run/s"},
		"file=/tmp/f,name=b.c d": {Name: "b.c d", File: "/tmp/f"},
	} {
		if got, err := parsePort(text); err != nil || got != want {
			t.Errorf("parsePort(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "name=a", "socket=/s", "name=a,socket=/s,file=/f", "name=a,name=b,file=/f", "name=,file=/f", "name=a,file=",
		"name=a/b,file=/f", "name=a,file=/f,mode=7", "name=" + agentPortName + ",file=/f", "name=a,socket=/" + strings.Repeat("s", 108),
	} {
		if got, err := parsePort(text); err == nil {
			t.Errorf("parsePort(%q) = %+v, want an error", text, got)
		}
	}
}

// TestVMRunPorts has a guest write to a file of the host, and talk with a client of a socket.
func TestVMRunPorts(t *testing.T) {
	needGuests(t)
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "out"), filepath.Join(dir, "s")
	cmd := vmRunCommand(t, "--accel", "kvm", "--port", "name=out,file="+file, "--port", "name=talk,socket="+socket, "--", "sh", "-c", `
		port() { for p in /sys/class/virtio-ports/*; do [ "$(cat $p/name)" = $1 ] && echo /dev/${p##*/}; done; }
		seq 20000 > $(port out)
		exec 3<> $(port talk)
		echo ready
		hear() { until read line <&3; do sleep 0.1; done; } # it is the end of the file while there is no client
		hear; echo "you said $line" >&3
		hear; echo "heard $line"`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v, want \"ready\"", line, err)
	}
	// Two clients: the second one's words come behind the first one's.
	for _, word := range []string{"hello", "goodbye"} {
		client, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, word+"\n"); err != nil {
			t.Error(err)
		}
		if word == "hello" {
			if answer, err := bufio.NewReader(client).ReadString('\n'); answer != "you said hello\n" {
				t.Errorf("the guest said %q, %v", answer, err)
			}
		}
		client.Close()
	}
	if line, err := lines.ReadString('\n'); line != "heard goodbye\n" {
		t.Errorf("%q, %v, want \"heard goodbye\"", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 20000 || !strings.HasSuffix(string(text), "\n20000\n") {
		t.Errorf("the file ends with %q, %v", text[max(0, len(text)-20):], err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket was left behind")
	}
}

// TestVMRunSerialAgent runs a command in a guest that has no module at all: the agent is reached over the serial line.
func TestVMRunSerialAgent(t *testing.T) {
	needGuests(t)
	vmlinux, _ := unpackedKernel(t)
	got := runOnKVM(t, "--kernel", vmlinux, "--", "sh", "-c", "ls /sys/class/virtio-ports 2>/dev/null; echo here")
	if got.status != 0 || got.stdout != "here\n" {
		t.Errorf("tandem vm run without modules = %+v", got)
	}
}

// TestVMRunVirtioConsole has a person at a virtio console, whose window changes.
func TestVMRunVirtioConsole(t *testing.T) {
	needGuests(t)
	cmd := vmRunCommand(t, "--accel", "kvm", "--console-device", "virtio")
	terminal, shown := startOnTerminal(t, cmd)
	shown.await(t, "# ")
	typeKeys(t, terminal, "tty; stty size\r")
	shown.await(t, "/dev/hvc0")
	shown.await(t, "40 100")
	if err := terminal.(console.Console).Resize(console.WinSize{Height: 33, Width: 77}); err != nil {
		t.Fatal(err)
	}
	typeKeys(t, terminal, "until [ \"$(stty size)\" = '33 77' ]; do sleep 0.1; done; echo re''sized\r")
	shown.await(t, "resized")
	typeKeys(t, terminal, "exit\r")
	if err := cmd.Wait(); err != nil {
		t.Errorf("after exit: %v", err)
	}
}

// TestVMRunDeviceFlags refuses what cannot be, before anything is fetched or made.
func TestVMRunDeviceFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--port", "name=a,file=/f", "--port", "name=a,socket=/s"}, "another port has that name"},
		{[]string{"--port", "name=a"}, "--port"},
		{[]string{"--console-device", "virtio", "--", "true"}, "--console-device"},
		{[]string{"--console-device", "virtio", "--console", "none"}, "--console-device"},
		{[]string{"--balloon", "much"}, "--balloon"},
		{[]string{"--balloon", "512M"}, "the guest's memory is 512M"},
		{[]string{"--balloon", "1000"}, "multiple of 4096"},
		{[]string{"--balloon", "0", "--hugepages", "2M"}, "huge pages"},
	} {
		got := finish(t, exec.Command(testenv.Tandem(t), append([]string{"explain", "vm", "run"}, c.args...)...))
		if got.status == 0 || !strings.Contains(got.stderr, c.want) {
			t.Errorf("explain vm run %q: %+v, want %q", c.args, got, c.want)
		}
	}
}
