package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// TestLoad has both halves of the load talk over lo: each kind of it moves something.
func TestLoad(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.NetNS)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
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
	defer func() {
		_ = guest.Process.Kill()
		_ = guest.Wait()
	}()
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != loadReady+"\n" {
		t.Fatalf("the guest's half said %q, %v", line, err)
	}
	p := peer{ns: ns, address: "127.0.0.1"}
	for name, read := range map[string]func(peer) (float64, error){
		"to the guest": peer.toGuest, "from it": peer.fromGuest, "round trip": peer.roundTrip,
		"packets to it": peer.packetsToGuest, "packets from it": peer.packetsFromGuest,
	} {
		if value, err := read(p); err != nil || value <= 0 {
			t.Errorf("%s: %v, %v", name, value, err)
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
