package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"tandem/internal/testenv"
	"tandem/network/netns"
)

// asGuest has this test's process be the guest's half.
const asGuest = "TANDEM_BENCH_GUEST"

func TestMain(m *testing.M) {
	if os.Getenv(asGuest) != "" {
		fmt.Println(serveLoad())
		os.Exit(1)
	}
	testenv.Main(m)
}

// loadOverLo starts the guest's half in a network namespace of its own, and gives the host's half.
func loadOverLo(t *testing.T) peer {
	testenv.Need(t, testenv.Root, testenv.NetNS)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	guest := exec.Command(os.Args[0])
	guest.Env = append(os.Environ(), asGuest+"=1")
	said, err := guest.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err == nil {
			err = guest.Start()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = guest.Process.Kill()
		_ = guest.Wait()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != loadReady+"\n" {
		t.Fatalf("the guest's half said %q, %v", line, err)
	}
	return peer{ns: ns, address: "127.0.0.1"}
}

// TestLoad has both halves of the load talk over lo: each kind of it moves something.
func TestLoad(t *testing.T) {
	p := loadOverLo(t)
	for name, read := range map[string]func(peer) (float64, error){
		"to the guest": peer.toGuest, "from it": peer.fromGuest, "round trip": peer.roundTrip,
		"packets to it": peer.packetsToGuest, "packets from it": peer.packetsFromGuest,
	} {
		if value, err := read(p); err != nil || value <= 0 {
			t.Errorf("%s: %v, %v", name, value, err)
		}
	}
}

func TestCommand(t *testing.T) {
	p := loadOverLo(t)
	if out, err := p.run([]string{"/bin/sh", "-c", "echo one; echo two >&2"}); string(out) != "one\ntwo\n" || err != nil {
		t.Errorf("a command that ends well: %q, %v", out, err)
	}
	for _, test := range []struct {
		argv []string
		want string
	}{
		{[]string{"/bin/sh", "-c", "echo why; exit 3"}, "/bin/sh: exit status 3: why"},
		{[]string{"/nowhere"}, "no such file"},
	} {
		if out, err := p.run(test.argv); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %q, %v, want %s", test.argv, out, err, test.want)
		}
	}
}

func TestFleetRatios(t *testing.T) {
	f := &fleet{vessels: []*vessel{{name: "tandem a", peer: peer{address: "4"}}, {name: "QEMU", rival: "tandem a", peer: peer{address: "2"}}, {name: "QEMU b", rival: "nobody", peer: peer{address: "0"}}}}
	table := f.measure(3, []gauge{{"title", "aim", "MB/s", func(p peer) (float64, error) {
		if p.address == "0" {
			return 0, errors.New("is away")
		}
		return float64(p.address[0] - '0'), nil
	}}})[0]
	if r := table.Rows[1]; r.Ratio != 2 || r.Median != 2 || r.Runs != 3 || table.Rows[0].Ratio != 0 {
		t.Errorf("rows %+v, want the second to have the ratio 2", table.Rows)
	}
	if r := table.Rows[2]; r.Error != "is away" || r.Runs != 0 || r.Ratio != 0 {
		t.Errorf("a guest that fails: %+v", r)
	}
}
