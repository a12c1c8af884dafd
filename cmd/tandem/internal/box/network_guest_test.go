package box_test

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/internal/nettest"
	"tandem/internal/testenv"
)

// TestPeersOfAGuest has containers and a VM talk to each other, side by side on the bridge: the guest runs the host's iperf3,
// which a container measures against, and the host's curl, which asks a container.
func TestPeersOfAGuest(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS, testenv.KVMLinux, testenv.GuestKernel, testenv.Busybox)
	root := nettest.NewRootFS(t)
	nettest.Peers(root)
	root.Write("www/index.html", 0o644, "a container's page\n")
	inNetNS(t, func() {
		said, end, err := b.startGuest("meter", "iperf3", "-s", "--forceflush", "-p", "8004")
		if err != nil {
			t.Error(err)
			return
		}
		defer end()
		container := func(command ...string) string {
			return b.must(slices.Concat([]string{"run", "--rm", "--rootfs", root.Dir, "--"}, command)...)
		}
		b.find(said, nettest.IPerf3Listens+"8004 (test #1)")
		address := b.addressOf("meter")
		container("busybox", "ping", "-c", "2", address)
		nettest.CheckIPerf3(t, container(nettest.IPerf3Client(address, "8004")...), false)
		b.find(said, nettest.IPerf3Listens+"8004 (test #2)")
		nettest.CheckIPerf3(t, container(nettest.IPerf3Client(address, "8004", "-R")...), true)
		end()

		b.must("run", "-d", "--name", "web", "-p", "8005:80", "--rootfs", root.Dir, "--", "busybox", "httpd", "-f", "-p", "80", "-h", "/www")
		got := b.finish(b.guest("curl", "curl", "-sSf", "--retry-connrefused", "--retry", "5", "http://10.77.0.1:8005/index.html"))
		if got.status != 0 || got.stdout != "a container's page\n" {
			t.Errorf("curl in a guest, from a container: %+v", got)
		}
		b.must("rm", "-f", "web")
	})
	b.empty()
}

// startGuest boots a VM on the bridge that runs a command, and gives what that prints. End pulls its plug, and waits for its
// end.
func (b *bench) startGuest(name string, command ...string) (said *bufio.Reader, end func(), err error) {
	b.t.Helper()
	cmd := b.guest(name, command...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	said = bufio.NewReader(out)
	end = func() {
		_ = b.command("vm", "stop", name).Run() // an error is that it has ended
		_, _ = io.Copy(io.Discard, said)
		_ = cmd.Wait() // its status is that of a plug that was pulled
	}
	return said, sync.OnceFunc(end), cmd.Start()
}

// guest is a VM on the bridge that runs a command. Where one CPU plays it, that may take a while.
func (b *bench) guest(name string, command ...string) *exec.Cmd {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*limit)
	b.t.Cleanup(cancel)
	return exec.CommandContext(ctx, testenv.Tandem(b.t), slices.Concat([]string{"vm", "run", "--name", name, "--net", "bridge", "--"}, command)...)
}

// find reads lines until one begins with a text.
func (b *bench) find(said *bufio.Reader, text string) {
	b.t.Helper()
	for {
		line, err := said.ReadString('\n')
		if strings.HasPrefix(line, text) {
			return
		}
		if err != nil {
			b.t.Fatalf("%v before %q", err, text)
		}
	}
}

// addressOf is where a VM is reached, as `vm ls` tells.
func (b *bench) addressOf(name string) string {
	b.t.Helper()
	list := b.must("vm", "ls")
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); fields[0] == name {
			address, err := netip.ParseAddr(fields[len(fields)-1])
			b.check(err)
			return address.String()
		}
	}
	b.t.Fatalf("%s is not listed: %s", name, list)
	return ""
}
