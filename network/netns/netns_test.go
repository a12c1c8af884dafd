package netns

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func open(t *testing.T) *NS {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.NetNS)
	ns, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

func TestDoWorksInTheNamespaceAndGoesBack(t *testing.T) {
	ns := open(t)
	here, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if here.ID() == ns.ID() {
		t.Fatal("New gives the caller's namespace")
	}
	err = ns.Do(func() error {
		there, err := Current()
		if err != nil {
			return err
		}
		defer there.Close()
		if there.ID() != ns.ID() {
			t.Errorf("Do runs in %v, want %v", there.ID(), ns.ID())
		}
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		if len(links) != 1 || links[0].Name != "lo" {
			t.Errorf("a new namespace has links %v, want lo alone", links)
		}
		return ns.Do(func() error { return nil }) // at home already
	})
	if err != nil {
		t.Fatal(err)
	}
	after, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if after.ID() != here.ID() {
		t.Errorf("after Do the goroutine is in %v, want %v", after.ID(), here.ID())
	}
}

// TestDoGoesBackFromAPanic would leave a thread in the wrong namespace to whichever goroutine comes next.
func TestDoGoesBackFromAPanic(t *testing.T) {
	ns := open(t)
	here, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	func() {
		defer func() { _ = recover() }()
		_ = ns.Do(func() error { panic("f") })
	}()
	after, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if after.ID() != here.ID() {
		t.Errorf("after a panic the thread is in %v, want %v", after.ID(), here.ID())
	}
}

func TestDoReturnsTheErrorOfF(t *testing.T) {
	ns := open(t)
	want := errors.New("f")
	if err := ns.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Do = %v, want %v", err, want)
	}
}

func TestManyNamespacesAtOnce(t *testing.T) {
	spaces := []*NS{open(t), open(t), open(t)}
	var group sync.WaitGroup
	for i := range 60 {
		ns := spaces[i%len(spaces)]
		group.Go(func() {
			err := ns.Do(func() error {
				runtime.Gosched()
				there, err := Current()
				if err != nil {
					return err
				}
				defer there.Close()
				if there.ID() != ns.ID() {
					t.Errorf("Do runs in %v, want %v", there.ID(), ns.ID())
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestHandleTalksToItsNamespace(t *testing.T) {
	ns := open(t)
	h, err := ns.Handle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Attrs().Name != "lo" {
		t.Errorf("the handle sees %d links, want lo alone", len(links))
	}
}

func TestOpenByPath(t *testing.T) {
	ns := open(t)
	again, err := Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.ID() != ns.ID() {
		t.Errorf("Open(%s) = %v, want %v", ns.Path(), again.ID(), ns.ID())
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/proc/self/ns/mnt", "/proc/self/ns/user", "/dev/null", dir, pipe} {
		if ns, err := Open(path); !errors.Is(err, ErrNotNetNS) {
			t.Errorf("Open(%s) = %v, %v, want %v", path, ns, err, ErrNotNetNS)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of nothing = %v", err)
	}
}
