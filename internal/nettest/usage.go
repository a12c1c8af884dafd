package nettest

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settle is how long it may take until nothing is left of connections that were closed.
const settle = time.Minute

// ShortTracking has the kernel forget closed connections soon, in the network namespace of the calling thread; 2
// minutes are usual.
func ShortTracking() error {
	for _, state := range []string{"time_wait", "close", "close_wait", "last_ack", "fin_wait"} {
		name := "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_" + state
		if err := os.WriteFile(name, []byte("2"), 0); err != nil {
			return err
		}
	}
	return nil
}

// Tracked is how many connections the kernel tracks in the network namespace of the calling thread. (The counter that
// sysctl shows has those as well that are to be forgotten, and will be when the kernel comes round to it.)
func Tracked() (count int, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		flows, err := h.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // some came or went meanwhile
			return 0, err
		}
		count += len(flows)
	}
	return count, nil
}

// Usage is what connections may leave behind in a process.
type Usage struct {
	Files  int // descriptors
	Memory int // bytes of its own: RssAnon
}

// UsageOf reads a process's.
func UsageOf(pid int) (u Usage, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return u, err
	}
	kilobytes, err := number(fmt.Sprintf("/proc/%d/status", pid), `RssAnon:\s*(\d+)`)
	return Usage{len(entries), kilobytes << 10}, err
}

func number(path, pattern string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%s: no %s in %q", path, pattern, text)
	}
	return strconv.Atoi(string(m[len(m)-1]))
}

// Slack is what a process that relays may keep for the connections that come next.
var Slack = Usage{
	Files:  16 * atOnce, // the pipes of splice(2), two for a connection, of which some are about to end
	Memory: 16 << 20,    // less than the stacks of goroutines that did not end
}

// Watch remembers what a process uses and how much the kernel tracks, and gives a function which waits until that is so
// again. In has a function run in the network namespace.
func Watch(t testing.TB, in func(func() error) error, pid int, slack Usage) (settled func()) {
	t.Helper()
	look := func() (u Usage, tracked int) {
		u, err := UsageOf(pid)
		if err != nil {
			t.Error(err)
		}
		err = in(func() (err error) {
			tracked, err = Tracked()
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return u, tracked
	}
	before, trackedBefore := look()
	return func() {
		t.Helper()
		for end := time.Now().Add(settle); ; time.Sleep(100 * time.Millisecond) {
			u, tracked := look()
			if u.Files <= before.Files+slack.Files && u.Memory <= before.Memory+slack.Memory && tracked <= trackedBefore {
				t.Logf("process %d: %+v, and %d tracked, became %+v, %d", pid, before, trackedBefore, u, tracked)
				return
			}
			if time.Now().After(end) {
				t.Errorf("process %d had %+v, and %d connections were tracked; afterwards %+v, and %d", pid, before, trackedBefore, u, tracked)
				return
			}
		}
	}
}
