package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"tandem/network/lease"
	"tandem/network/netns"
	"tandem/network/port"
)

func (w *world) store() Store { return Store{State: w.state, Host: w.host.Path()} }

func kindsOf(found []Leftover) string {
	var all []string
	for _, f := range found {
		all = append(all, f.Kind+" "+f.ID)
	}
	return strings.Join(all, ", ")
}

// TestContainerThatEndedByItself: its veth went with its namespace, its lease did not.
func TestContainerThatEndedByItself(t *testing.T) {
	w := newWorld(t)
	ns, err := netns.New()
	w.must(err)
	a := w.attachSpec(w.spec("gone", ns, "8080:80"))
	a.CloseSockets()
	b := w.attach("alive")
	if found, err := w.store().Leftovers(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("while both live: %v, %v", found, err)
	}
	w.must(ns.Close())
	w.waitGone(a.Link)
	found, err := w.store().Collect(t.Context(), nil)
	if err != nil || kindsOf(found) != "lease gone" {
		t.Errorf("Collect = %v, %v", found, err)
	}
	if text := w.nft("", "list", "ruleset"); strings.Contains(text, "8080") {
		t.Errorf("rules are left:\n%s", text)
	}
	w.serve(w.outside, "tcp", ":7000", "outside")
	w.asks(b.ns, "tcp", at(outsideIP4, 7000), "outside "+hostIP4+" hello")
}

// waitGone waits for the kernel to take down a namespace, and the veth with it.
func (w *world) waitGone(link string) {
	w.t.Helper()
	sp := &space{ns: w.host, open: func() (*netns.NS, error) { return netns.Open(w.host.Path()) }}
	defer func() { sp.route.Close() }()
	w.wait("link "+link+" to go", func() bool {
		l, err := sp.link(link)
		w.must(err)
		return l == nil
	})
}

// TestVMThatIsGone: nothing of a tap tells, so somebody has to.
func TestVMThatIsGone(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	s := w.spec("vm", nil)
	s.Tap = &Tap{}
	w.attachSpec(s)
	if found, err := w.store().Leftovers(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("Leftovers = %v, %v", found, err)
	}
	lives := func(id string) bool { return id == "vm" }
	if found, err := w.store().Leftovers(t.Context(), lives); err != nil || len(found) != 0 {
		t.Errorf("Leftovers while it lives = %v, %v", found, err)
	}
	found, err := w.store().Collect(t.Context(), func(string) bool { return false })
	if err != nil || kindsOf(found) != "lease vm, bridge , table " {
		t.Errorf("Collect = %v, %v", found, err)
	}
	for _, text := range []string{
		"lease 10.77.0.2 on tandem0 of vm: the box is gone", "bridge tandem0 on tandem0: no box",
	} {
		if !strings.Contains(fmt.Sprint(found), text) {
			t.Errorf("found %v, want %q", found, text)
		}
	}
	w.same("collected", before, settingsBack(w.snapshot()))
}

// TestFullNetworkCollectsFirst gives the address of a box that is gone to the next.
func TestFullNetworkCollectsFirst(t *testing.T) {
	w := newWorld(t)
	small := func(id string, ns *netns.NS) Spec {
		s := w.spec(id, ns)
		s.IPv4 = netip.MustParsePrefix("10.1.1.0/30")
		return s
	}
	ns, err := netns.New()
	w.must(err)
	a := w.attachSpec(small("a", ns))
	_, err = Attach(t.Context(), small("b", w.namespace()))
	if !errors.Is(err, lease.ErrFull) {
		t.Errorf("Attach to a full network = %v, want %v", err, lease.ErrFull)
	}
	w.must(ns.Close())
	w.waitGone(a.Link)
	b := w.attachSpec(small("b", w.namespace()))
	if a.Addresses[0] != b.Addresses[0] {
		t.Errorf("addresses %v and %v", a.Addresses, b.Addresses)
	}
}

// TestStrayLink has lost its lease, as when somebody removed the file.
func TestStrayLink(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	a := w.attach("a")
	w.must(os.Remove(filepath.Join(w.state, "tandem0.json")))
	_, err := Attach(t.Context(), w.spec("b", w.namespace()))
	if err == nil || !strings.Contains(err.Error(), a.Link) || !strings.Contains(err.Error(), "tandem tandem0 box a") {
		t.Errorf("Attach beside a stray link = %v, want its name", err)
	}
	found, err := w.store().Collect(t.Context(), nil)
	if err != nil || kindsOf(found) != "link a, bridge , table " {
		t.Errorf("Collect = %v, %v", found, err)
	}
	w.same("collected", before, settingsBack(w.snapshot()))
}

// TestGuestOnTheBridge is a link that somebody plugged in who has no lease: the bridge stays while it is there.
func TestGuestOnTheBridge(t *testing.T) {
	w := newWorld(t)
	a := w.attach("a")
	h := w.handle(w.host)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "guest"
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "guest-peer"
	w.must(h.LinkAdd(veth))
	bridge, err := h.LinkByName("tandem0")
	w.must(err)
	w.must(h.LinkSetMaster(veth, bridge))
	w.must(Detach(t.Context(), a.Attachment))
	if found, err := w.store().Collect(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("Collect = %v, %v", found, err)
	}
	if _, err := h.LinkByName("tandem0"); err != nil {
		t.Error(err)
	}
	w.must(h.LinkDel(veth))
	if found, err := w.store().Collect(t.Context(), nil); err != nil || kindsOf(found) != "bridge , table " {
		t.Errorf("Collect = %v, %v", found, err)
	}
}

// TestForeignBridge is refused, and survives.
func TestForeignBridge(t *testing.T) {
	for _, kind := range []string{"bridge", "veth"} {
		w := newWorld(t)
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "tandem0"
		var link netlink.Link = &netlink.Bridge{LinkAttrs: attrs}
		if kind == "veth" {
			v := netlink.NewVeth(attrs)
			v.PeerName = "peer"
			link = v
		}
		w.must(w.handle(w.host).LinkAdd(link))
		before := w.snapshot()
		_, err := Attach(t.Context(), w.spec("a", w.namespace()))
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), kind+" tandem0") {
			t.Errorf("Attach = %v, want %v", err, ErrForeign)
		}
		w.same("after the refusal", before, w.snapshot())
		if found, err := w.store().Collect(t.Context(), nil); err != nil || len(found) != 0 {
			t.Errorf("Collect = %v, %v", found, err)
		}
		w.same("after collecting", before, w.snapshot())
	}
}

// TestHalfMadeBridge was left by a process that was killed before it gave the bridge its alias, or its address.
func TestHalfMadeBridge(t *testing.T) {
	for _, attach := range []bool{false, true} {
		w := newWorld(t)
		before := w.snapshot()
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = "tandem0", macOf(netip.MustParseAddr("10.99.0.1"))
		w.must(w.handle(w.host).LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
		if attach {
			w.attach("a")
			continue
		}
		if found, err := w.store().Collect(t.Context(), nil); err != nil || kindsOf(found) != "bridge " {
			t.Errorf("Collect = %v, %v", found, err)
		}
		w.same("collected", before, w.snapshot())
	}
}

// TestOtherState does not touch a bridge that has its leases in another folder.
func TestOtherState(t *testing.T) {
	w := newWorld(t)
	a := w.attach("a", "8080:80")
	before := w.snapshot()
	other := w.spec("a", w.namespace())
	other.State = filepath.Join(t.TempDir(), "other")
	if _, err := Attach(t.Context(), other); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), w.state) {
		t.Errorf("Attach = %v, want %v and the folder that it belongs to", err, ErrForeign)
	}
	store := Store{State: other.State, Host: w.host.Path()}
	if found, err := store.Collect(t.Context(), func(string) bool { return false }); err != nil || len(found) != 0 {
		t.Errorf("Collect = %v, %v", found, err)
	}
	w.same("after the refusal", before, w.snapshot())
	if a.ip(false) == "" {
		t.Error("no address")
	}
}

// TestOtherHost: from another namespace, no link of the leases is to be seen, and yet none is dead.
func TestOtherHost(t *testing.T) {
	w := newWorld(t)
	w.attach("a")
	before := w.snapshot()
	wrong := Store{State: w.state, Host: w.outside.Path()}
	if found, err := wrong.Leftovers(t.Context(), nil); !errors.Is(err, lease.ErrOtherHost) {
		t.Errorf("Leftovers = %v, %v, want %v", found, err, lease.ErrOtherHost)
	}
	if found, err := wrong.Collect(t.Context(), nil); !errors.Is(err, lease.ErrOtherHost) {
		t.Errorf("Collect = %v, %v, want %v", found, err, lease.ErrOtherHost)
	}
	w.same("afterwards", before, w.snapshot())
}

// TestCorruptedLeases are told by name, and never overwritten.
func TestCorruptedLeases(t *testing.T) {
	w := newWorld(t)
	w.attach("a")
	path := filepath.Join(w.state, "tandem0.json")
	good, err := os.ReadFile(path)
	w.must(err)
	w.must(os.WriteFile(path, good[:len(good)-9], 0o644))
	for what, err := range map[string]error{
		"Attach":  func() error { _, err := Attach(t.Context(), w.spec("b", w.namespace())); return err }(),
		"Detach":  Detach(t.Context(), &Attachment{ID: "a", State: w.state, Host: w.host.Path()}),
		"Collect": func() error { _, err := w.store().Collect(t.Context(), nil); return err }(),
		"Reload":  w.store().Reload(t.Context()),
	} {
		if !errors.Is(err, lease.ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s = %v, want %v and the path", what, err, lease.ErrCorrupt)
		}
	}
	w.must(os.WriteFile(path, good, 0o644))
}

func TestAttachTwiceIsRefused(t *testing.T) {
	w := newWorld(t)
	w.attach("a", "8080:80")
	before := w.snapshot()
	if _, err := Attach(t.Context(), w.spec("a", w.namespace())); !errors.Is(err, ErrAttached) {
		t.Errorf("a second Attach = %v, want %v", err, ErrAttached)
	}
	w.same("after the refusal", before, w.snapshot())
}

// TestInterfaceThatIsThere: the container's namespace has an eth0.
func TestInterfaceThatIsThere(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	_, err := Attach(t.Context(), w.spec("a", w.outside))
	if err == nil || !strings.Contains(err.Error(), "RTM_NEWLINK veth") || !strings.Contains(err.Error(), "exists") {
		t.Errorf("Attach = %v", err)
	}
	w.same("after the failure", before, w.snapshot())
}

// TestManyAtOnce loses no address, and gives none twice; also not one whose box came and went.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	const workers = 16
	var mu sync.Mutex
	used := make(map[string]string)
	take := func(id string, keys ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, key := range keys {
			if other, ok := used[key]; ok {
				t.Errorf("%s and %s both have %s", id, other, key)
			}
			used[key] = id
		}
	}
	give := func(keys ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, key := range keys {
			delete(used, key)
		}
	}
	w.serve(w.outside, "tcp", ":7000", "outside")
	for range 2 {
		var group sync.WaitGroup
		for i := range workers {
			id, ns := fmt.Sprintf("box%d", i), w.namespace()
			spec := w.spec(id, ns, "80")
			group.Go(func() {
				a, err := Attach(t.Context(), spec)
				if err != nil {
					t.Error(err)
					return
				}
				keys := []string{
					a.Addresses[0].String(), a.Addresses[1].String(), a.MAC, a.Link, fmt.Sprint("port ", a.Ports[0].HostPort),
				}
				take(id, keys...)
				if got, err := ask(ns, "tcp", at(outsideIP4, 7000)); err != nil || got != "outside "+hostIP4+" hello" {
					t.Errorf("%s: %q, %v", id, got, err)
				}
				give(keys...)
				if err := Detach(t.Context(), a); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	w.same("afterwards", before, settingsBack(w.snapshot()))
}

// TestManyBridges have subnets of their own, also those that are chosen at the same time.
func TestManyBridges(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var all []netip.Prefix
	var group sync.WaitGroup
	for i := range 8 {
		spec := w.spec("box", w.namespace())
		spec.Mode.Value = fmt.Sprintf("tandem%d", i*subnetCount()) // names that begin at one place
		group.Go(func() {
			a, err := Attach(t.Context(), spec)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, p := range a.Addresses {
				if overlaps(p, all) {
					t.Errorf("%s: %v overlaps one of %v", a.Bridge, p, all)
				}
				all = append(all, p.Masked())
			}
		})
	}
	group.Wait()
	found, err := w.store().Collect(t.Context(), func(string) bool { return false })
	if err != nil || len(found) != 8*3 {
		t.Errorf("collected %d, want %d: %v, %v", len(found), 8*3, found, err)
	}
}

// subnetCount is the number of subnets to choose from.
func subnetCount() int {
	n := 0
	for _, pool := range pools {
		n += 1 << (subnetBits - pool.Bits())
	}
	return n
}

func TestPortThatIsTaken(t *testing.T) {
	w := newWorld(t)
	w.attach("web", "8080:80")
	other := w.spec("other", w.namespace())
	other.Mode.Value = "tandem1"
	other.Ports = w.spec("", nil, "8081:80").Ports
	a := w.attachSpec(other)
	a.CloseSockets() // as when the process that held it has ended: the rules are still there
	w.serve(w.host, "tcp", "127.0.0.1:8082", "host")
	before := w.snapshot()
	for text, want := range map[string]string{
		"8080:80":           "0.0.0.0:8080/tcp: port is taken by web",
		"127.0.0.1:8080:80": "127.0.0.1:8080/tcp: port is taken by web",
		"8081:80":           "port is taken by other",
		"8082:80":           "0.0.0.0:8082/tcp: port is taken by " + comm(t) + " (process",
	} {
		_, err := Attach(t.Context(), w.spec("late", w.namespace(), "9090:90", text))
		if !errors.Is(err, port.ErrTaken) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	w.same("after the refusals", before, w.snapshot())
	w.attach("udp", "8080:80/udp", "127.0.0.2:8082:80")
}

// comm is this program's name, as the kernel has it.
func comm(t *testing.T) string {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}
