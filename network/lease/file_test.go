package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
	"tandem/network/netns"
)

func newFile(t *testing.T) File {
	t.Helper()
	return File{Folder: filepath.Join(t.TempDir(), "state"), Bridge: "tandem0", Host: netns.ID{Device: 1, Inode: 2}}
}

// join takes a lease as Attach does.
func join(n *Network, id string) (uint32, error) {
	if len(n.Leases) == 0 {
		n.IPv4, n.MTU = netip.MustParsePrefix("10.77.0.0/22"), 1500
	}
	l, err := n.Take(id, netip.Addr{})
	if err != nil {
		return 0, err
	}
	l.Link = "veth" + id
	return l.Number, nil
}

func add(ctx context.Context, f File, id string) error {
	return f.Update(ctx, func(n *Network) error {
		_, err := join(n, id)
		return err
	})
}

func remove(f File, id string) error {
	return f.Update(context.Background(), func(n *Network) error {
		n.Release(id)
		return nil
	})
}

func mustAdd(t *testing.T, f File, id string) {
	t.Helper()
	if err := add(t.Context(), f, id); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, folder string) string {
	t.Helper()
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestUpdateKeepsLeases(t *testing.T) {
	f := newFile(t)
	if n, err := f.Read(); err != nil || len(n.Leases) != 0 {
		t.Errorf("Read without a file = %+v, %v", n, err)
	}
	mustAdd(t, f, "a")
	mustAdd(t, f, "b")
	n, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Leases) != 2 || n.Lease("b").Number != 3 || n.Host != f.Host {
		t.Errorf("Read = %+v", n)
	}
	if got := entries(t, f.Folder); got != "tandem0.json tandem0.lock" {
		t.Errorf("the folder holds %s", got)
	}
	bridges, err := List(f.Folder)
	if err != nil || len(bridges) != 1 || bridges[0] != "tandem0" {
		t.Errorf("List = %v, %v", bridges, err)
	}
	for _, id := range []string{"a", "b"} {
		if err := remove(f, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := entries(t, f.Folder); got != "" {
		t.Errorf("after the last lease the folder holds %s", got)
	}
	if bridges, err := List(filepath.Join(f.Folder, "none")); err != nil || len(bridges) != 0 {
		t.Errorf("List of nothing = %v, %v", bridges, err)
	}
}

func TestUpdateWritesNothingAfterAnError(t *testing.T) {
	f := newFile(t)
	broken := errors.New("broken")
	fail := func(n *Network) error {
		n.Leases = nil
		return broken
	}
	if err := f.Update(t.Context(), fail); !errors.Is(err, broken) {
		t.Errorf("Update = %v", err)
	}
	if got := entries(t, f.Folder); got != "" {
		t.Errorf("the folder holds %s", got)
	}
	mustAdd(t, f, "a")
	if err := f.Update(t.Context(), fail); !errors.Is(err, broken) {
		t.Errorf("Update = %v", err)
	}
	if n, err := f.Read(); err != nil || n.Lease("a") == nil {
		t.Errorf("Read = %+v, %v", n, err)
	}
}

// TestUpdateOneAtATime loses no lease, gives no number twice, and never has two changes going on at once: with few
// workers the file, and that of the lock, come and go all the time.
func TestUpdateOneAtATime(t *testing.T) {
	for _, workers := range []int{2, 3, 16} {
		f := newFile(t)
		var inside atomic.Int32
		update := func(change func(*Network) error) {
			t.Helper()
			err := f.Update(context.Background(), func(n *Network) error {
				if inside.Add(1) > 1 {
					t.Error("two changes at once")
				}
				defer inside.Add(-1)
				runtime.Gosched()
				return change(n)
			})
			if err != nil {
				t.Error(err)
			}
		}
		var mu sync.Mutex
		held := make(map[uint32]string)
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for r := range 120 / workers {
					id, number := fmt.Sprintf("box%d.%d", w, r), uint32(0)
					update(func(n *Network) (err error) {
						number, err = join(n, id)
						return err
					})
					mu.Lock()
					if other, ok := held[number]; ok {
						t.Errorf("%s and %s both have number %d", id, other, number)
					}
					held[number] = id
					mu.Unlock()
					runtime.Gosched()
					mu.Lock()
					delete(held, number)
					mu.Unlock()
					update(func(n *Network) error {
						n.Release(id)
						return nil
					})
				}
			})
		}
		group.Wait()
		if got := entries(t, f.Folder); got != "" {
			t.Errorf("the folder holds %s", got)
		}
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	f := newFile(t)
	mustAdd(t, f, "a")
	broken := errors.New("broken")
	err := f.Update(t.Context(), func(*Network) error {
		ctx, cancel := context.WithCancelCause(t.Context())
		waits := make(chan error)
		go func() { waits <- f.Update(ctx, func(*Network) error { return nil }) }()
		cancel(broken)
		if err := <-waits; !errors.Is(err, broken) || !strings.Contains(err.Error(), f.lockPath()) {
			t.Errorf("Update = %v, want %v", err, broken)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, f, "b") // the lock that came too late was given back
}

func TestOldBootHasNoLeases(t *testing.T) {
	f := newFile(t)
	mustAdd(t, f, "a")
	replace(t, f, func(n *Network) { n.Boot = "before" })
	if n, err := f.Read(); err != nil || len(n.Leases) != 0 {
		t.Errorf("Read = %+v, %v", n, err)
	}
	mustAdd(t, f, "b")
	if n, err := f.Read(); err != nil || len(n.Leases) != 1 || n.Leases[0].Number != 2 {
		t.Errorf("Read = %+v, %v", n, err)
	}
}

// TestOtherHostIsRefused: leases whose links are looked for in the wrong namespace would all seem to be dead.
func TestOtherHostIsRefused(t *testing.T) {
	f := newFile(t)
	mustAdd(t, f, "a")
	other := f
	other.Host.Inode++
	if err := remove(other, "a"); !errors.Is(err, ErrOtherHost) {
		t.Errorf("Update = %v, want %v", err, ErrOtherHost)
	}
	if n, err := f.Read(); err != nil || n.Lease("a") == nil {
		t.Errorf("Read = %+v, %v", n, err)
	}
}

func replace(t *testing.T, f File, change func(*Network)) {
	t.Helper()
	n, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	change(n)
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path(), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCorruptedFile is told by its name and what is wrong, and stays as it is.
func TestCorruptedFile(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"EOF":              func(string) string { return "" },
		"invalid":          func(s string) string { return strings.Repeat("\x00", len(s)) },
		"unexpected":       func(s string) string { return s[:len(s)/2] },
		"follows":          func(s string) string { return s + s },
		"unknown field":    func(s string) string { return strings.Replace(s, `"leases"`, `"losses"`, 1) },
		"version 7":        func(s string) string { return strings.Replace(s, `"version": 1`, `"version": 7, "new": 1`, 1) },
		`bridge "tandem9"`: func(s string) string { return strings.Replace(s, "tandem0", "tandem9", 1) },
		"number 1":         func(s string) string { return strings.Replace(s, `"number": 2`, `"number": 1`, 1) },
		"number 1023":      func(s string) string { return strings.Replace(s, `"number": 2`, `"number": 1023`, 1) },
		"(b): number 2":    func(s string) string { return strings.Replace(s, `"number": 3`, `"number": 2`, 1) },
		`ID "a"`:           func(s string) string { return strings.Replace(s, `"id": "b"`, `"id": "a"`, 1) },
		`link "vetha"`:     func(s string) string { return strings.Replace(s, `"vethb"`, `"vetha"`, 1) },
		`link ""`:          func(s string) string { return strings.Replace(s, `"vethb"`, `""`, 1) },
		"host bits":        func(s string) string { return strings.Replace(s, "10.77.0.0/22", "10.77.0.1/22", 1) },
		"MTU 0":            func(s string) string { return strings.Replace(s, `"mtu": 1500`, `"mtu": 0`, 1) },
		"0 of the box": func(s string) string {
			const bad = `"ports": [{"hostPort": 80, "boxPort": 0, "count": 1, "protocol": "tcp"}]`
			return strings.Replace(s, `"link": "vetha"`, `"link": "vetha", `+bad, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			mustAdd(t, f, "a")
			mustAdd(t, f, "b")
			text, err := os.ReadFile(f.Path())
			if err != nil {
				t.Fatal(err)
			}
			bad := change(string(text))
			if bad == string(text) {
				t.Fatal("the change changes nothing")
			}
			if err := os.WriteFile(f.Path(), []byte(bad), 0o644); err != nil {
				t.Fatal(err)
			}
			err = add(t.Context(), f, "c")
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), f.Path()) || !strings.Contains(err.Error(), name) {
				t.Errorf("Update = %v, want %v, the path and %q", err, ErrCorrupt, name)
			}
			if after, err := os.ReadFile(f.Path()); err != nil || string(after) != bad {
				t.Errorf("the file is changed: %q, %v", after, err)
			}
		})
	}
}

func TestLinkInPlaceOfTheFileIsNotFollowed(t *testing.T) {
	f := newFile(t)
	if err := os.MkdirAll(f.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", f.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(); !errors.Is(err, unix.ELOOP) {
		t.Errorf("Read = %v, want %v", err, unix.ELOOP)
	}
}

// TestWhatAKilledWriterLeft does not hinder the next.
func TestWhatAKilledWriterLeft(t *testing.T) {
	f := newFile(t)
	mustAdd(t, f, "a")
	if err := os.WriteFile(f.temporaryPath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, f, "b")
	if got := entries(t, f.Folder); got != "tandem0.json tandem0.lock" {
		t.Errorf("the folder holds %s", got)
	}
}

// TestFullDisk keeps the old file. The disk is a tmpfs of two pages, which only one thread sees.
func TestFullDisk(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.MountNS)
	folder := t.TempDir()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the mount goes with the thread
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=8192"); err != nil {
				return err
			}
			f := File{Folder: folder, Bridge: "tandem0"}
			var err error
			count := 0
			for ; err == nil && count < 100; count++ {
				err = add(context.Background(), f, fmt.Sprintf("box%d", count))
			}
			if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "tandem0") {
				return fmt.Errorf("lease %d: %w, want %w", count, err, unix.ENOSPC)
			}
			n, err := f.Read()
			if err == nil && len(n.Leases) != count-1 {
				err = fmt.Errorf("%d leases are left of %d", len(n.Leases), count-1)
			}
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzParse holds that what is accepted is sound, and the same after it is written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"boot":"b","host":{"device":4,"inode":4026531840},"bridge":"tandem0","ipv4":"10.77.0.0/22",` +
		`"ipv6":"fd12:3456:789a::/64","mtu":1400,"last":3,"leases":[` +
		`{"id":"web","number":2,"link":"veth0123456789","ports":[{"hostPort":8080,"boxPort":80,"count":1,"protocol":"tcp"}],` +
		`"attached":true,"by":{"pid":4711,"started":123456,"namespace":4026531836}},` +
		`{"id":"vm","number":3,"link":"tap0123456789","tap":true,"attached":false,"by":{"pid":1,"started":1,"namespace":1}}]}`))
	f.Add([]byte(`{"version":1,"boot":"","host":{"device":0,"inode":0},"bridge":"tandem0","leases":[]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parse(text, "tandem0")
		if err != nil {
			return
		}
		for _, l := range n.Leases {
			for _, p := range n.Addresses(l.Number) {
				if subnet := p.Masked(); subnet != n.IPv4 && subnet != n.IPv6 {
					t.Errorf("lease %+v has address %v", l, p)
				}
			}
		}
		again, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := parse(again, "tandem0"); err != nil || !reflect.DeepEqual(m, n) {
			t.Errorf("%s read again: %+v, %v", again, m, err)
		}
	})
}
