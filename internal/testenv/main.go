package testenv

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settle is how long what the tests started may take to go after the last of them: processes end, mounts of dead
// namespaces are undone and sockets are closed a little later than their cause.
const settle = time.Minute

// Main is for TestMain. It runs the package's tests, and fails the package if they left a process, a file descriptor
// or a temporary file behind.
func Main(m *testing.M) { os.Exit(runTests(m, ownKinds)) }

// MainHostWide is Main for a package whose tests change what all processes share: mounts, cgroups, links, network
// namespaces, loop devices. It fails the package for those too, and lets one such package run at a time, so that none
// is blamed for what another holds.
func MainHostWide(m *testing.M) {
	if fuzzWorker() {
		os.Exit(m.Run())
	}
	unlock, err := lockHost()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := runTests(m, append(ownKinds, hostKinds...))
	unlock()
	os.Exit(status)
}

// fuzzWorker tells whether this process is one of those that go test -fuzz starts to run a fuzz target. They work for
// a process that has gone through Main itself: it looks after what they leave, and holds the lock that they would wait for.
func fuzzWorker() bool {
	return slices.ContainsFunc(os.Args[1:], func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzzworker") })
}

func runTests(m *testing.M, kinds []kind) int {
	if fuzzWorker() {
		return m.Run()
	}
	heedSignals()
	temp, err := privateTemp()
	if err == nil {
		err = adoptOrphans()
	}
	if err == nil {
		err = startPoller()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	before := take(kinds)
	status := m.Run()
	left := before.leftAfter(settle)
	for _, l := range left {
		fmt.Fprintf(os.Stderr, "testenv: left behind: %s\n", l)
	}
	if len(left) > 0 && status == 0 {
		status = 1
	}
	if err := os.RemoveAll(temp); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		status = 1
	}
	return status
}

// privateTemp makes the folder that os.TempDir names from now on. Its path is short, as the paths of Unix sockets in
// it have to be.
func privateTemp() (string, error) {
	dir, err := os.MkdirTemp("", "tt")
	if err != nil {
		return "", err
	}
	return dir, os.Setenv("TMPDIR", dir)
}

// heedSignals has the programs that tests start not ignore SIGHUP and SIGINT, which this process may have been started to: by
// nohup(1), or in the background of a shell. A signal that is caught here, and forgotten, has its default action after execve(2).
func heedSignals() {
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// adoptOrphans makes this process the parent of its children's children when those end, so that a daemon is not lost
// from sight.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set child subreaper: %w", err)
	}
	return nil
}

// startPoller has the Go runtime open the descriptors of its network poller, which it keeps.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	return w.Close()
}

// lockHost waits for every other package that changes what the host shares.
func lockHost() (unlock func(), err error) {
	path := filepath.Join(os.TempDir(), "tandem-testenv.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("testenv: lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
