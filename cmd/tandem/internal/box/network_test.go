package box_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/testenv"
	"tandem/network/netns"
)

// inNetNS runs f in a network namespace of its own, and so what f starts.
func inNetNS(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and the namespace with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = exec.Command("busybox", "ip", "link", "set", "lo", "up").Run()
		}
		if err == nil {
			defer close(done)
			f()
			return
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// withPort is inNetNS with a port that the test listens on, and the namespace, for what is not done in f's thread.
func withPort(t *testing.T, address string, f func(l net.Listener, ns *netns.NS)) {
	t.Helper()
	inNetNS(t, func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		ns, err := netns.Current()
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		f(l, ns)
	})
}

func TestBridge(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS)
	inNetNS(t, func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
			t.Error(err)
		}
		for _, told := range []bool{true, false} { // it is told who changes it, and nobody else
			got := b.tandem("run", "--rm", "--rootfs", b.root, "true")
			if said := strings.Contains(got.stderr, "net.ipv4.ip_forward was 0 and is 1 now"); got.status != 0 || said != told {
				t.Errorf("run: %+v, want the change to be told: %v", got, told)
			}
		}
		b.must("run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "--rootfs", b.root, "--", "sh", "-c", "echo up; while :; do echo hello | nc -l -p 80; done")
		r := b.record("web")
		if r.Network == nil || len(r.Network.Addresses) == 0 {
			t.Errorf("the record has no address: %+v", r.Network)
			return
		}
		b.await("web", "up")
		if got := b.must("exec", "web", "cat", "/etc/hosts"); !strings.Contains(got, fmt.Sprintf("%s\t%s", r.Network.Addresses[0].Addr(), r.ID[:12])) {
			t.Errorf("/etc/hosts: %q", got)
		}
		if got := b.must("ps"); !strings.Contains(got, "127.0.0.1:8080->80/tcp") {
			t.Errorf("ps: %q", got)
		}
		if got := b.must("inspect", "-f", "{{.NetworkSettings.IPAddress}} {{json .NetworkSettings.Ports}}", "web"); got != r.Network.Addresses[0].Addr().String()+` {"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}` {
			t.Errorf("inspect: %s", got)
		}
		if got, want := b.must("run", "--rm", "--add-host", "up:host-gateway", "--rootfs", b.root, "grep", "up", "/etc/hosts"), r.Network.Gateways[0].String()+"\tup"; got != want {
			t.Errorf("--add-host up:host-gateway: %q, want %q", got, want)
		}
		// From another container, from one in the same namespace, and from the host by the published port.
		address := r.Network.Addresses[0].Addr().String()
		reach := "until nc -w 5 %s < /dev/null | grep hello; do sleep 0.05; done"
		if got := b.must("run", "--rm", "--rootfs", b.root, "sh", "-c", fmt.Sprintf(reach, address+" 80")); got != "hello" {
			t.Errorf("from another container: %q", got)
		}
		if got := b.must("run", "--rm", "--net", "container:web", "--rootfs", b.root, "sh", "-c", "hostname; "+fmt.Sprintf(reach, "127.0.0.1 80")); got != r.ID[:12]+"\nhello" {
			t.Errorf("from the same namespace: %q", got)
		}
		if got := b.must("run", "--rm", "--net", "host", "--rootfs", b.root, "sh", "-c", fmt.Sprintf(reach, "127.0.0.1 8080")); got != "hello" {
			t.Errorf("from the host: %q", got)
		}
		if got := b.tandem("run", "--rm", "-p", "127.0.0.1:8080:80", "--rootfs", b.root, "true"); got.status != 125 || !strings.Contains(got.stderr, "port is taken by container web (127.0.0.1:8080:80/tcp)") {
			t.Errorf("a port that is taken: %+v", got)
		}
		if got := b.must("port", "web") + " " + b.must("port", "web", "80/tcp"); got != "80/tcp -> 127.0.0.1:8080 127.0.0.1:8080" {
			t.Errorf("port: %q", got)
		}
		if got := b.tandem("port", "web", "81"); got.status != 125 || !strings.Contains(got.stderr, "not published") {
			t.Errorf("port of none: %+v", got)
		}
		stats := decode[[]box.Stats](t, b.must("stats", "--no-stream", "--json", "web"))
		if len(stats) != 1 || stats[0].Net == nil || stats[0].Net.Received == 0 || stats[0].Net.Sent == 0 {
			t.Errorf("stats: %+v", stats)
		}
		b.must("restart", "-t", "0", "web")
		if got := b.must("run", "--rm", "--net", "host", "--rootfs", b.root, "sh", "-c", fmt.Sprintf(reach, "127.0.0.1 8080")); got != "hello" {
			t.Errorf("started again, it is reached by the host's port: %q", got)
		}
		b.must("rm", "-f", "web")
		links, err := net.Interfaces()
		if err != nil || len(links) != 1 {
			t.Errorf("links after the last container: %v, %v", links, err)
		}
		// A keeper that was killed leaves a link and a lease, too.
		b.must("run", "-d", "--name", "orphan", "-p", "8081:80", "--rootfs", b.root, "sleep", "1000")
		if err := unix.Kill(b.record("orphan").Keeper.PID, unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if err := b.record("orphan").Keeper.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		b.must("system", "gc")
		if links, err := net.Interfaces(); err != nil || len(links) != 1 {
			t.Errorf("links after gc: %v, %v", links, err)
		}
		b.empty()
	})
}
