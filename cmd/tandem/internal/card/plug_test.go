package card

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/network/netns"
	"tandem/network/port"
	"tandem/vmm"
)

// host is a network namespace for cards, and the folder of their leases.
type host struct {
	*testing.T
	ns    *netns.NS
	state string
	notes []string
}

func newHost(t *testing.T) *host {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.NetNS, testenv.TUN)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	t.Setenv("TMPDIR", t.TempDir())
	return &host{T: t, ns: ns, state: filepath.Join(t.TempDir(), "network")}
}

func (h *host) options() Options {
	return Options{
		Machine: "box", State: h.state,
		Report: func(card string, err error) { h.Errorf("%s: %v", card, err) },
		Note:   func(text string) { h.notes = append(h.notes, text) },
	}
}

// plug makes a card in the namespace.
func (h *host) plug(text string, opt Options) (l *Live, err error) {
	h.Helper()
	c, _, err := Parse(text)
	if err != nil {
		h.Fatal(err)
	}
	err = h.ns.Do(func() error {
		l, err = Plug(h.Context(), 3, c, opt)
		return err
	})
	return l, err
}

// unplug takes it down, and wants nothing left.
func (h *host) unplug(l *Live) {
	h.Helper()
	if err := h.ns.Do(func() error { return l.Close(h.Context()) }); err != nil {
		h.Errorf("close: %v", err)
	}
	h.clean()
}

func (h *host) links() (names []string) {
	h.Helper()
	n, err := h.ns.Handle(unix.NETLINK_ROUTE)
	if err != nil {
		h.Fatal(err)
	}
	defer n.Close()
	links, err := n.LinkList()
	if err != nil {
		h.Fatal(err)
	}
	for _, l := range links {
		if l.Attrs().Name != "lo" && l.Type() != "sit" && l.Attrs().Name != ownTap {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

// clean wants nothing there.
func (h *host) clean() {
	h.Helper()
	left := h.links()
	for _, dir := range []string{h.state, os.TempDir()} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(d.Name(), "lock") {
				left = append(left, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.Error(err)
		}
	}
	if len(left) > 0 {
		h.Errorf("left behind: %q", left)
	}
}

const ownTap = "tap-of-test"

// tap makes one as a user does, with so many queues.
func (h *host) tap(queues int) {
	h.Helper()
	tap := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: ownTap}, Mode: netlink.TUNTAP_MODE_TAP, Queues: queues,
		Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR,
	}
	if queues > 1 {
		tap.Flags |= netlink.TUNTAP_MULTI_QUEUE
	}
	if err := h.ns.Do(func() error { return netlink.LinkAdd(tap) }); err != nil {
		h.Fatal(err)
	}
	for _, f := range tap.Fds {
		f.Close()
	}
}

var plugPaths = []struct {
	path  Path
	needs []*testenv.Requirement
}{
	{Exit, nil},
	{Eventfd, nil},
	{Vhost, []*testenv.Requirement{testenv.VHostNet}},
	{VhostUser, nil},
}

// TestPlugBridge makes cards on a bridge, and takes them down.
func TestPlugBridge(t *testing.T) {
	for _, test := range plugPaths {
		t.Run(string(test.path), func(t *testing.T) {
			h := newHost(t)
			testenv.Need(t, test.needs...)
			opt := h.options()
			opt.Self = testenv.Tandem(t)
			mapping, err := port.Parse("8080:80")
			if err != nil {
				t.Fatal(err)
			}
			opt.Ports = []port.Mapping{mapping}
			l, err := h.plug("bridge=tandem5,queues=2,mtu=1400,mac=52:54:00:12:34:56,datapath="+string(test.path), opt)
			if err != nil {
				t.Fatal(err)
			}
			link := l.Link()
			if link.MAC != "52:54:00:12:34:56" || link.MTU != 1400 || len(link.Addresses) == 0 || len(link.Gateways) != len(link.Addresses) {
				t.Errorf("the guest is told %+v", link)
			}
			if got := len(h.links()); got != 2 {
				t.Errorf("links %q, want a bridge and a tap", h.links())
			}
			if l.Name != "net3" || l.Pairs() != 2 || !strings.HasPrefix(l.Source(), "bridge tandem5, tap ") {
				t.Errorf("%s, %d pairs, %s", l.Name, l.Pairs(), l.Source())
			}
			d := l.Device(vmm.PCI)
			if d.Name != "net3" || d.Direct != (test.path == Exit) || !strings.Contains(d.Source, string(test.path)) {
				t.Errorf("device %+v", d)
			}
			// The published port is this card's, also towards programs of the host's own.
			err = h.ns.Do(func() error {
				other, err := net.Listen("tcp", ":8080")
				if err == nil {
					other.Close()
				}
				return err
			})
			if !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("the published port is free: %v", err)
			}
			h.unplug(l)
		})
	}
}

// TestPlugTap uses a tap that the user made, and leaves it to him.
func TestPlugTap(t *testing.T) {
	h := newHost(t)
	h.tap(2)
	for _, text := range []string{",queues=2", ",queues=2,datapath=exit", ",queues=2,datapath=vhost-user"} {
		opt := h.options()
		opt.Self = testenv.Tandem(t)
		l, err := h.plug("tap="+ownTap+text+",address=192.0.2.2/24,gateway=192.0.2.1", opt)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		link := l.Link()
		if mac, err := net.ParseMAC(link.MAC); err != nil || mac[0]&3 != 2 || len(link.Addresses) != 1 || len(link.Gateways) != 1 {
			t.Errorf("%s: the guest is told %+v", text, link)
		}
		h.unplug(l)
	}
	if err := h.ns.Do(func() error { _, err := netlink.LinkByName(ownTap); return err }); err != nil {
		t.Errorf("the user's tap: %v", err)
	}
}

// TestPlugFails takes back what was done before a card could not be made.
func TestPlugFails(t *testing.T) {
	h := newHost(t)
	h.tap(1)
	nobody := filepath.Join(t.TempDir(), "s.sock")
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "deaf.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // one who hangs up on everybody
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	opt := h.options()
	opt.Self = "/bin/false" // no back-end
	for _, test := range []struct {
		text string
		want string
	}{
		{"tap=gone", "ip tuntap add dev gone mode tap"},
		{"tap=lo", "lo"},
		{"tap=" + ownTap + ",queues=2", ownTap},
		{"datapath=vhost-user:" + nobody, nobody},
		{"datapath=vhost-user:" + listener.Addr().String(), ""},
		{"bridge=tandem5,datapath=vhost-user", ""},
		{"bridge=tandem5,datapath=vhost-user:" + nobody, ""},
	} {
		l, err := h.plug(test.text, opt)
		if l != nil || err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "net3: ") {
			t.Errorf("%s: %v, want an error with %q", test.text, err, test.want)
		}
		h.clean()
		if _, err := os.Stat(nobody); err == nil {
			t.Errorf("%s: %s was left", test.text, nobody)
		}
	}
}

func TestAlive(t *testing.T) {
	mine, err := leaseID("a-b", "net0")
	if err != nil {
		t.Fatal(err)
	}
	dead := mine[:strings.LastIndex(mine, "-")] + "-1" // of a process that began when the machine did
	for id, want := range map[string]bool{
		mine: true, dead: false, "": false, "vm-": false, "vm-a-net0-1": false, "vm-a-net0-x-y": false,
		strings.TrimPrefix(mine, "vm-"): false, fmt.Sprint(mine, "0"): false,
	} {
		if Alive(id) != want {
			t.Errorf("Alive(%q) = %v, want %v", id, !want, want)
		}
	}
}

func TestResolvConf(t *testing.T) {
	if text, err := ResolvConf("box", nil, func(string) {}); text != nil || err != nil {
		t.Errorf("without a card: %q, %v", text, err)
	}
	h := newHost(t)
	l, err := h.plug("bridge=tandem5", h.options())
	if err != nil {
		t.Fatal(err)
	}
	text, err := ResolvConf("box", []*Live{l}, func(string) {})
	if err != nil || text == nil {
		t.Errorf("%q, %v", text, err)
	}
	h.unplug(l)
}
