package port

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/network/netns"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// newHost makes a namespace of its own with lo up.
func newHost(t *testing.T) *netns.NS {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.NetNS)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	h, err := ns.Handle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	return ns
}

func mustParse(t *testing.T, s string) Mapping {
	t.Helper()
	m, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustHold(t *testing.T, ns *netns.NS, s string) (Mapping, []*os.File) {
	t.Helper()
	m, sockets, err := Hold(ns, mustParse(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseAll(sockets) })
	return m, sockets
}

func names(sockets []*os.File) string {
	var all []string
	for _, s := range sockets {
		all = append(all, s.Name())
	}
	return strings.Join(all, " ")
}

func TestHoldTakesEveryPortOnEveryAddress(t *testing.T) {
	ns := newHost(t)
	for text, want := range map[string]string{
		"8080:80":             "0.0.0.0:8080/tcp [::]:8080/tcp",
		"8080:80/udp":         "0.0.0.0:8080/udp [::]:8080/udp",
		"127.0.0.1:81-82:1-2": "127.0.0.1:81/tcp 127.0.0.1:82/tcp",
		"[::1]:81:1":          "[::1]:81/tcp",
	} {
		if _, sockets := mustHold(t, ns, text); names(sockets) != want {
			t.Errorf("Hold(%s) has sockets %s, want %s", text, names(sockets), want)
		}
	}
}

func TestHoldNamesTheProcessThatHasThePort(t *testing.T) {
	ns := newHost(t)
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ has, wants, at string }{
		{"8080:80", "8080:80", "0.0.0.0:8080/tcp"},
		{"[::]:8081:80", "8081:80", "[::]:8081/tcp"},
		{"127.0.0.1:8082:80", "8082:80", "0.0.0.0:8082/tcp"},
		{"0.0.0.0:8083:80", "127.0.0.1:8083:80", "127.0.0.1:8083/tcp"},
		{"8084:80/udp", "8084:80/udp", "0.0.0.0:8084/udp"},
		{"[::1]:8085:80/udp", "8085:80/udp", "[::]:8085/udp"},
		{"8088:80", "8086-8090:86-90", "0.0.0.0:8088/tcp"},
	} {
		mustHold(t, ns, test.has)
		_, sockets, err := Hold(ns, mustParse(t, test.wants), nil)
		var taken *TakenError
		if !errors.As(err, &taken) || !errors.Is(err, ErrTaken) || sockets != nil {
			t.Errorf("Hold(%s) where %s is held = %v, want %v", test.wants, test.has, err, ErrTaken)
			continue
		}
		want := fmt.Sprintf("%s: port is taken by %s (process %d)", test.at, strings.TrimSpace(string(name)), os.Getpid())
		if !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Hold(%s) = %v, want %s", test.wants, err, want)
		}
	}
}

func TestHoldNamesTheBoxThatHasThePort(t *testing.T) {
	ns := newHost(t)
	used := []User{{mustParse(t, "127.0.0.1:8080-8089:80-89"), "web"}}
	_, sockets, err := Hold(ns, mustParse(t, "8085:80"), used)
	const want = "0.0.0.0:8085/tcp: port is taken by web (127.0.0.1:8080-8089:80-89/tcp)"
	if !errors.Is(err, ErrTaken) || !strings.HasSuffix(err.Error(), want) {
		CloseAll(sockets)
		t.Errorf("Hold = %v", err)
	}
}

func TestHoldPicksOneThatIsFree(t *testing.T) {
	ns := newHost(t)
	mustHold(t, ns, "[::]:8000:80")
	used := []User{{mustParse(t, "8001:80"), "web"}}
	m, sockets, err := Hold(ns, mustParse(t, "8000-8005:80"), used)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(sockets)
	if want := mustParse(t, "8002:80"); m != want || len(sockets) != 2 {
		t.Errorf("Hold = %v with %d sockets, want %v with 2", m, len(sockets), want)
	}
	if _, _, err := Hold(ns, mustParse(t, "8000-8001:80"), used); !errors.Is(err, ErrTaken) {
		t.Errorf("Hold of ports that are all taken = %v", err)
	}
}

func TestHoldPicksAnyPort(t *testing.T) {
	ns := newHost(t)
	for _, text := range []string{"80", "80/udp", "127.0.0.1::80", "[::1]::80/udp"} {
		m, sockets := mustHold(t, ns, text)
		if !m.Settled() || m.HostPort == 0 {
			t.Errorf("Hold(%s) = %+v", text, m)
		}
		for _, s := range sockets {
			if want := fmt.Sprintf(":%d/", m.HostPort); !strings.Contains(s.Name(), want) {
				t.Errorf("Hold(%s) = %s with socket %s", text, m, s.Name())
			}
		}
	}
}

func TestHoldRefusesAnAddressThatTheHostHasNot(t *testing.T) {
	_, _, err := Hold(newHost(t), mustParse(t, "198.51.100.1:8080:80"), nil)
	if !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "198.51.100.1:8080") {
		t.Errorf("Hold = %v, want %v", err, unix.EADDRNOTAVAIL)
	}
}

// TestHoldKeepsNoSocketsOfALargeRange checks its ports all the same.
func TestHoldKeepsNoSocketsOfALargeRange(t *testing.T) {
	ns := newHost(t)
	if _, sockets := mustHold(t, ns, "10000-10999:10000-10999/udp"); len(sockets) != 0 {
		t.Errorf("Hold keeps %d sockets", len(sockets))
	}
	mustHold(t, ns, "127.0.0.1:10500:80/udp")
	_, _, err := Hold(ns, mustParse(t, "10000-10999:10000-10999/udp"), nil)
	if !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "0.0.0.0:10500/udp") {
		t.Errorf("Hold = %v", err)
	}
}

// TestHoldIsNotHinderedByTimeWait: the port of a server that ended a moment ago.
func TestHoldIsNotHinderedByTimeWait(t *testing.T) {
	ns := newHost(t)
	err := ns.Do(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		defer l.Close()
		client, err := net.Dial("tcp4", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			return err
		}
		server.Close() // who closes first is in TIME_WAIT
		_, err = client.Read(make([]byte, 1))
		if err == nil {
			return errors.New("read from a closed connection")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, ns, "8080:80")
}

// TestHeldPortIsNobodyElses is what the sockets are kept for.
func TestHeldPortIsNobodyElses(t *testing.T) {
	ns := newHost(t)
	mustHold(t, ns, "8080:80")
	err := ns.Do(func() error {
		for _, at := range []string{"127.0.0.1:8080", "0.0.0.0:8080", "[::1]:8080", "[::]:8080"} {
			if l, err := net.Listen("tcp", at); !errors.Is(err, unix.EADDRINUSE) {
				if err == nil {
					l.Close()
				}
				t.Errorf("listen on %s = %v, want %v", at, err, unix.EADDRINUSE)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSockaddr(t *testing.T) {
	for _, at := range []string{"192.0.2.1:80", "[2001:db8::1]:443"} {
		want := netip.MustParseAddrPort(at)
		if got := fromSockaddr(toSockaddr(want)); got != want {
			t.Errorf("%v there and back = %v", want, got)
		}
	}
}
