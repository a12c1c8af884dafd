package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/internal/testenv"
)

// ownHost gives the test a network namespace that stands for the host's. Its thread ends with it.
func ownHost(t *testing.T) {
	t.Helper()
	testenv.Need(t, testenv.NetNS)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// addLink makes a pair of links, the first of them up and with an address of each kind.
func addLink(t *testing.T, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, 1400
	veth := netlink.NewVeth(attrs)
	veth.PeerName = name + "-peer"
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"10.9.8.7/24", "fd00:9::7/64"} {
		address, err := netlink.ParseAddr(text)
		if err != nil {
			t.Fatal(err)
		}
		if text[:2] == "10" {
			address.Label = name + ":web"
		}
		address.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(veth, address); err != nil {
			t.Fatal(err)
		}
	}
	short, err := netlink.ParseAddr("10.9.8.9/24")
	if err != nil {
		t.Fatal(err)
	}
	short.ValidLft, short.PreferedLft = 1000, 1000
	if err := netlink.AddrAdd(veth, short); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{name, veth.PeerName} {
		link, err := netlink.LinkByName(end)
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// linkState is a link in a few words: its MTU, whether it is up, and its lasting addresses.
func linkState(t *testing.T, name string) string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		return "none"
	}
	m, err := openHere(t).find(name)
	if err != nil {
		t.Fatal(err)
	}
	words := []string{fmt.Sprint("mtu ", link.Attrs().MTU), fmt.Sprint("up ", m.up)}
	for _, a := range m.addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

func openHere(t *testing.T) *netSpace {
	t.Helper()
	s, err := openNetSpace("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// ip shows a link of the container's: its name, its MTU, whether it is up, and its addresses but for those of the link alone.
const ipScript = `ip addr show | while read a b c d e rest; do case "$a $b" in
	*lo:*) ;; *:\ *) echo "$b $c $e" ;; inet*\ 127*|inet6\ ::1*|inet6\ fe80*) ;; inet*) echo "$a $b" ;; esac; done`

func TestNetDevice(t *testing.T) {
	ownHost(t)
	b := newBench(t)
	for i, test := range []struct {
		as   string
		want string
	}{{"", "tdm0"}, {"inner", "inner"}, {"eth%d", "eth0"}} {
		name := fmt.Sprintf("tdm%d", i)
		addLink(t, name)
		s := b.spec(ipScript)
		s.Config.Linux.NetDevices = map[string]specs.LinuxNetDevice{name: {Name: test.as}}
		status, out := b.run(s)
		for _, want := range []string{test.want + "@", "UP", "1400", "inet 10.9.8.7/24\n", "inet6 fd00:9::7/64\n"} {
			if status != 0 || !strings.Contains(out, want) {
				t.Errorf("%s as %q: status %d, %q, want %q", name, test.as, status, out, want)
			}
		}
		if strings.Contains(out, "10.9.8.9") {
			t.Errorf("%s has an address that was not to stay: %q", name, out)
		}
	}
	awaitNoLinks(t)
}

// awaitNoLinks waits until all pairs are gone: each goes with either end, and an end with its namespace, and that with its last
// process; the kernel takes its time for that.
func awaitNoLinks(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		links, err := netlink.LinkList()
		if err == nil && len(links) == 1 {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("links of the host after the containers: %d, %v", len(links), err)
		}
		time.Sleep(time.Millisecond)
	}
}

// What comes after the move, and fails, gives the link back as it was.
func TestNetDeviceGivenBack(t *testing.T) {
	ownHost(t)
	b := newBench(t)
	addLink(t, "tdm0")
	addLink(t, "tdm1")
	before := [2]string{linkState(t, "tdm0"), linkState(t, "tdm1")}
	if !strings.Contains(before[0], "up true") || !strings.Contains(before[0], "10.9.8.7/24 tdm0:web") {
		t.Fatalf("before: %s", before[0])
	}
	for _, test := range []struct {
		name   string
		change func(*specs.Spec)
		is     error
	}{
		{"no such command", func(c *specs.Spec) { c.Process.Args[0] = "nosuch" }, unix.ENOENT},
		{"a hook that fails", func(c *specs.Spec) { c.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/false"}}} }, nil},
		{"another link that is not there", func(c *specs.Spec) { c.Linux.NetDevices["tdm7"] = specs.LinuxNetDevice{} }, unix.ENODEV},
		{"a name that is taken", func(c *specs.Spec) { c.Linux.NetDevices["tdm1"] = specs.LinuxNetDevice{Name: "lo"} }, unix.EEXIST},
		{"the loopback link", func(c *specs.Spec) { c.Linux.NetDevices["lo"] = specs.LinuxNetDevice{Name: "lo1"} }, ErrInvalid},
	} {
		s := b.spec("true")
		s.Config.Linux.NetDevices = map[string]specs.LinuxNetDevice{"tdm0": {Name: "inner"}, "tdm1": {}}
		test.change(s.Config)
		_, _, err := b.Run(t.Context(), s)
		if err == nil || !errors.Is(err, test.is) && test.is != nil {
			t.Errorf("%s: %v, want %v", test.name, err, test.is)
		}
		if after := [2]string{linkState(t, "tdm0"), linkState(t, "tdm1")}; after != before {
			t.Errorf("%s: the links are now\n%q, and were\n%q", test.name, after, before)
		}
	}
}

// Whichever step is the last that is taken of those from the move on, the link is back afterwards as it was.
func TestNetDeviceGivenBackAtEveryStep(t *testing.T) {
	ownHost(t)
	b := newBench(t)
	// create takes a number of steps, or all, and tells in which the link was not there.
	create := func(last int) (c *Container, away []int, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := b.spec("exec sleep 1000")
		s.Config.Linux.NetDevices = map[string]specs.LinuxNetDevice{"tdm0": {Name: "inner"}}
		step := 0
		s.Observe = func(p *plan.Step) {
			if step++; step == last {
				cancel()
			}
			if _, err := netlink.LinkByName("tdm0"); err != nil && p.Do != nil { // the child's steps change nothing about links
				away = append(away, step)
			}
		}
		c, err = b.Create(ctx, s)
		return c, away, err
	}
	addLink(t, "tdm0")
	c, away, err := create(0)
	if err != nil || len(away) < 5 {
		t.Fatalf("%v, the link was away in steps %v", err, away)
	}
	if err := c.Delete(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	reap(c.state.Init.PID)
	awaitNoLinks(t)
	addLink(t, "tdm0")
	before := linkState(t, "tdm0")
	for _, last := range append([]int{away[0] - 1}, away[:len(away)-1]...) {
		_, _, err := create(last)
		if after := linkState(t, "tdm0"); after != before || !errors.Is(err, context.Canceled) {
			t.Fatalf("after step %d: %v; the link is %q, and was %q", last, err, after, before)
		}
	}
}

// A namespace that somebody else has made, and one that belongs to a user namespace that is joined.
func TestNetDeviceInJoinedNamespaces(t *testing.T) {
	testenv.Need(t, testenv.UserNS)
	ownHost(t)
	b := newBench(t)
	b.giveRoot(100000)
	other := b.running(func(s *Spec) { asUser(s.Config) })
	path := func(name string) string { return fmt.Sprintf("/proc/%d/ns/%s", other.state.Init.PID, name) }
	for i, join := range []map[specs.LinuxNamespaceType]string{
		{specs.NetworkNamespace: path("net"), specs.UserNamespace: path("user")},
		{specs.UserNamespace: path("user")},
	} {
		name := fmt.Sprintf("tdm%d", i)
		addLink(t, name)
		s := b.spec(ipScript)
		asUser(s.Config)
		s.Config.Linux.UIDMappings, s.Config.Linux.GIDMappings = nil, nil
		for i := range s.Config.Linux.Namespaces {
			ns := &s.Config.Linux.Namespaces[i]
			ns.Path = join[ns.Type]
		}
		s.Config.Linux.NetDevices = map[string]specs.LinuxNetDevice{name: {}}
		status, out := b.run(s)
		if status != 0 || !strings.Contains(out, name+"@") || !strings.Contains(out, "inet 10.9.8.7/24\n") {
			t.Errorf("%v: status %d, %q", join, status, out)
		}
	}
	if err := other.Signal(t.Context(), unix.SIGKILL, false); err != nil {
		t.Error(err)
	}
}

// asUser puts a container into a user namespace of its own.
func asUser(c *specs.Spec) {
	c.Linux.Namespaces = append(c.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	c.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	c.Linux.GIDMappings = c.Linux.UIDMappings
}

func TestNetDeviceRefused(t *testing.T) {
	own := namespaces{new: unix.CLONE_NEWNET}
	for _, test := range []struct {
		devices map[string]specs.LinuxNetDevice
		ns      namespaces
		says    string
	}{
		{map[string]specs.LinuxNetDevice{"eth0": {}}, namespaces{}, "no network namespace"},
		{map[string]specs.LinuxNetDevice{"": {}}, own, "not the name of a link"},
		{map[string]specs.LinuxNetDevice{"eth%d": {}}, own, "not the name of a link"},
		{map[string]specs.LinuxNetDevice{"a/b": {}}, own, "not the name of a link"},
		{map[string]specs.LinuxNetDevice{"sixteencharacter": {}}, own, "16 characters"},
		{map[string]specs.LinuxNetDevice{"eth0": {Name: ".."}}, own, "folder"},
		{map[string]specs.LinuxNetDevice{"eth0": {Name: "a b"}}, own, "character"},
		{map[string]specs.LinuxNetDevice{"eth0": {Name: "%s"}}, own, "character"},
		{map[string]specs.LinuxNetDevice{"eth0": {Name: "e%d%d"}}, own, "character"},
		{map[string]specs.LinuxNetDevice{"eth0": {Name: "eth1"}, "eth1": {}}, own, `both would be "eth1"`},
	} {
		_, err := parseNetDevices(&specs.Linux{NetDevices: test.devices}, test.ns)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v: %v, want %q", test.devices, err, test.says)
		}
	}
	two := map[string]specs.LinuxNetDevice{"a": {Name: "eth%d"}, "b": {Name: "eth%d"}}
	if list, err := parseNetDevices(&specs.Linux{NetDevices: two}, own); err != nil || len(list) != 2 {
		t.Errorf("%v: %v", two, err)
	}
}

// A host's own namespace is no place to move a link to.
func TestNetDeviceToTheSameNamespace(t *testing.T) {
	ownHost(t)
	path := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	if m, err := openNetMove(path); !errors.Is(err, ErrInvalid) {
		m.close()
		t.Errorf("openNetMove: %v", err)
	}
}
