package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/testenv"
	"tandem/network/netns"
)

// netHost is a host for network tests: a network namespace, and folders of tandem's, of their own.
type netHost struct {
	t    *testing.T
	ns   *netns.NS
	run  string
	temp string // of the commands
}

func newNetHost(t *testing.T) *netHost {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.NetNS, testenv.TUN)
	h := &netHost{t: t, run: filepath.Join(t.TempDir(), "run"), temp: t.TempDir()}
	t.Setenv(box.RunVariable, h.run)
	t.Setenv("TANDEM_ROOT", filepath.Join(t.TempDir(), "data"))
	t.Setenv("TMPDIR", h.temp)
	ns, err := netns.New()
	h.must(err)
	t.Cleanup(func() { ns.Close() })
	h.ns = ns
	h.netlink(func(n *netlink.Handle) error {
		lo, err := n.LinkByName("lo")
		if err != nil {
			return err
		}
		return n.LinkSetUp(lo)
	})
	return h
}

func (h *netHost) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *netHost) netlink(f func(*netlink.Handle) error) {
	h.t.Helper()
	n, err := h.ns.Handle(unix.NETLINK_ROUTE)
	h.must(err)
	defer n.Close()
	h.must(f(n))
}

// start starts a program in the host's namespace.
func (h *netHost) start(cmd *exec.Cmd) {
	h.t.Helper()
	h.must(h.ns.Do(cmd.Start))
}

// command is one of tandem's.
func (h *netHost) command(args ...string) *exec.Cmd {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), guestLimit)
	h.t.Cleanup(cancel)
	return exec.CommandContext(ctx, testenv.Tandem(h.t), args...)
}

// tandem runs a command of tandem's to its end.
func (h *netHost) tandem(args ...string) ended {
	h.t.Helper()
	cmd := h.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	h.start(cmd)
	_ = cmd.Wait() // the status is looked at
	return ended{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (h *netHost) mustTandem(args ...string) string {
	h.t.Helper()
	got := h.tandem(args...)
	if got.status != 0 {
		h.t.Fatalf("tandem %q = %+v", args, got)
	}
	return got.stdout
}

// dial connects from the host.
func (h *netHost) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = h.ns.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// serve is a web server on the host that gives data. Where some of it is still to be sent, it tells of that, if anybody
// wants to know.
func (h *netHost) serve(address string, data []byte, left func(int)) {
	h.t.Helper()
	var l net.Listener
	h.must(h.ns.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for rest := data; len(rest) > 0; {
			n, err := w.Write(rest[:min(len(rest), 64<<10)])
			if rest = rest[n:]; err != nil {
				return // the client tells
			}
			if left != nil {
				left(len(rest))
			}
		}
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	h.t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// fetch gets what a guest serves, and gives how much that is and its digest.
func (h *netHost) fetch(url string) (n int64, digest string, err error) {
	transport := &http.Transport{DialContext: h.dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	sum := md5.New()
	n, err = io.Copy(sum, r.Body)
	return n, hex.EncodeToString(sum.Sum(nil)), err
}

const testTap = "tap-of-test"

// tap makes a tap that stays, as a user does, with an address of the host's.
func (h *netHost) tap(address string, queues int) {
	h.t.Helper()
	h.netlink(func(n *netlink.Handle) error {
		tap := &netlink.Tuntap{
			LinkAttrs: netlink.LinkAttrs{Name: testTap}, Mode: netlink.TUNTAP_MODE_TAP,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR, Queues: queues,
		}
		if queues > 1 {
			tap.Flags |= netlink.TUNTAP_MULTI_QUEUE
		}
		if err := h.ns.Do(func() error { return netlink.LinkAdd(tap) }); err != nil {
			return err
		}
		for _, f := range tap.Fds {
			f.Close()
		}
		link, err := n.LinkByName(testTap)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := n.AddrAdd(link, addr); err != nil {
			return err
		}
		return n.LinkSetUp(link)
	})
}

// left names what there is of links, rules, leases, records and sockets.
func (h *netHost) left() (list []string) {
	h.t.Helper()
	h.netlink(func(n *netlink.Handle) error {
		links, err := n.LinkList()
		for _, l := range links {
			if name := l.Attrs().Name; name != "lo" && l.Type() != "sit" && name != testTap {
				list = append(list, "link "+name)
			}
		}
		return err
	})
	rules := exec.Command("nft", "list", "ruleset")
	var out bytes.Buffer
	rules.Stdout = &out
	h.start(rules)
	h.must(rules.Wait())
	if text := strings.TrimSpace(out.String()); text != "" {
		list = append(list, text)
	}
	for _, dir := range []string{h.run, h.temp} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != "lock" && d.Name() != ".lock" {
				list = append(list, path)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			h.t.Error(err)
		}
	}
	return list
}

func (h *netHost) wantNothingLeft() {
	h.t.Helper()
	if left := h.left(); len(left) > 0 {
		h.t.Errorf("left behind: %q", left)
	}
}

// netGuest is a guest with a shell, which is told what to do line by line.
type netGuest struct {
	*netHost
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *bufio.Reader
	stderr *lockedBuffer
	told   int
	since  time.Time // it was told
}

// boot starts a guest, and returns when its shell runs.
func (h *netHost) boot(name string, args ...string) *netGuest {
	h.t.Helper()
	g := &netGuest{netHost: h, name: name, stderr: &lockedBuffer{}}
	args = append([]string{"vm", "run", "--accel", "kvm", "--memory", "256M", "--name", name}, args...)
	g.cmd = h.command(append(args, "--", "sh")...)
	g.cmd.Stderr = g.stderr
	var err error
	g.stdin, err = g.cmd.StdinPipe()
	h.must(err)
	out, err := g.cmd.StdoutPipe()
	h.must(err)
	g.out = bufio.NewReader(out)
	h.start(g.cmd)
	h.t.Cleanup(func() {
		if g.cmd.ProcessState == nil {
			_ = g.cmd.Process.Kill()
			_ = g.cmd.Wait()
		}
		if h.t.Failed() {
			h.t.Logf("%s said: %s", g.name, g.stderr.String())
		}
	})
	g.do(":")
	return g
}

// tell has the shell do something, and does not wait for it.
func (g *netGuest) tell(script string) {
	g.t.Helper()
	g.told++
	g.since = time.Now()
	_, err := fmt.Fprintf(g.stdin, "{ %s\n} 2>&1 </dev/null; echo \"--%d-- $?\"\n", script, g.told)
	g.must(err)
}

// answer is what was said until the shell was done with what it was told, and its status.
func (g *netGuest) answer() (text string, status string) {
	g.t.Helper()
	mark := fmt.Sprintf("--%d-- ", g.told)
	for {
		line, err := g.out.ReadString('\n')
		if before, s, ok := strings.Cut(line, mark); ok {
			g.t.Logf("%5.2f s for command %d", time.Since(g.since).Seconds(), g.told)
			return text + before, strings.TrimSpace(s)
		}
		text += line
		if err != nil {
			g.t.Fatalf("%s: its shell ended: %v; it said %q and %q", g.name, err, text, g.stderr.String())
		}
	}
}

// try has the shell do something, to its end.
func (g *netGuest) try(script string) (text, status string) {
	g.t.Helper()
	g.tell(script)
	return g.answer()
}

// do wants it to go well.
func (g *netGuest) do(script string) string {
	g.t.Helper()
	text, status := g.try(script)
	if status != "0" {
		g.t.Errorf("%s: %s: status %s: %s", g.name, script, status, text)
	}
	return strings.TrimSpace(text)
}

// leave ends the shell, and so the guest.
func (g *netGuest) leave() {
	g.t.Helper()
	g.must(g.stdin.Close())
	_, _ = io.Copy(io.Discard, g.out)
	if err := g.cmd.Wait(); err != nil {
		g.t.Errorf("%s: %v: %s", g.name, err, g.stderr.String())
	}
}

// randomBytes are n bytes that nothing can make smaller, and what md5sum says of them.
func randomBytes(n int) (b []byte, digest string) {
	b = make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = source.Read(b) // it never fails
	sum := md5.Sum(b)
	return b, hex.EncodeToString(sum[:])
}

// eventually looks again and again until there is what it waits for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// lockedBuffer is one that may be read while a command writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
