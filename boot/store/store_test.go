package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// put makes a kernel by hand, as old as that.
func put(t *testing.T, s *Store, name, pkg string, age time.Duration) {
	t.Helper()
	dir := filepath.Join(s.dir, name)
	r := record{Release: "r-" + name, Package: pkg, Source: "test", Added: time.Now().Add(-age)}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, recordFile), data, 0o644),
		os.WriteFile(filepath.Join(dir, imageFile), []byte(name), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDefault(t *testing.T) {
	s := newStore(t)
	check := func(want string) {
		t.Helper()
		k, err := s.Get("")
		if err != nil || k.Name != want || !k.Default {
			t.Errorf("default is %q (%v, %v), want %q", k.Name, k.Default, err, want)
		}
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, k := range list {
			if k.Default {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d kernels are the default, want 1", n)
		}
	}
	if _, err := s.Get(""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "tandem kernel pull") {
		t.Errorf("empty store: %v, want %v and what to do", err, ErrNotFound)
	}
	put(t, s, "lab", LabPackage, 0)
	check("lab")
	put(t, s, "mine", "", 3*time.Hour)
	check("mine")
	put(t, s, "guest1", GuestPackage, 2*time.Hour)
	check("guest1")
	put(t, s, "guest2", GuestPackage, time.Hour)
	check("guest2")
	if err := s.SetDefault("mine"); err != nil {
		t.Fatal(err)
	}
	check("mine")
	if err := s.SetDefault("nosuch"); !errors.Is(err, ErrNotFound) {
		t.Errorf("SetDefault(nosuch): %v", err)
	}
	check("mine")
	if err := s.Remove("mine"); err != nil {
		t.Fatal(err)
	}
	check("guest2")
	if _, err := os.Stat(filepath.Join(s.dir, "mine")); !os.IsNotExist(err) {
		t.Errorf("removed kernel: %v", err)
	}
}

func TestGet(t *testing.T) {
	s := newStore(t)
	put(t, s, "a", GuestPackage, time.Hour)
	put(t, s, "b", GuestPackage, 2*time.Hour)
	for name, want := range map[string]string{"a": "a", "b": "b", "r-b": "b", GuestPackage: "a"} {
		if k, err := s.Get(name); err != nil || k.Name != want || !filepath.IsAbs(k.Image) {
			t.Errorf("Get(%q) = %+v, %v; want %s", name, k, err, want)
		}
	}
	for _, name := range []string{"c", LabPackage, "../a", ".lock", "/", "a/../b"} {
		if k, err := s.Get(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q) = %+v, %v; want %v", name, k, err, ErrNotFound)
		}
	}
}

func TestBadNames(t *testing.T) {
	s := newStore(t)
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../outside", "a/b", "-x", ".new-1", "a b", "ä", "a\x00", strings.Repeat("a", 201)} {
		for what, err := range map[string]error{"Remove": s.Remove(name), "SetDefault": s.SetDefault(name)} {
			if !errors.Is(err, ErrName) {
				t.Errorf("%s(%q): %v, want %v", what, name, err, ErrName)
			}
		}
		if _, err := s.Import(context.Background(), os.Args[0], name, "", nil); name != "" && !errors.Is(err, ErrName) {
			t.Errorf("Import as %q: %v, want %v", name, err, ErrName)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if err := s.Remove("nosuch"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Remove(nosuch): %v", err)
	}
}

// What a process that died has left is not shown, does not get in the way, and goes with the next change.
func TestSweep(t *testing.T) {
	s := newStore(t)
	put(t, s, "a", "", 0)
	for _, dead := range []string{tempPrefix + "123/modules/lib", deadPrefix + "a/x", "unfinished"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dead), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(); err != nil || len(list) != 1 {
		t.Errorf("list: %+v, %v; want a alone", list, err)
	}
	unlock, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	unlock()
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// Who removes a kernel wants its room, and that of a pull which was killed.
	if err := os.MkdirAll(filepath.Join(s.dir, tempPrefix+"456/modules/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("a"); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left by a removal: %q", left)
	}
}

func TestLock(t *testing.T) {
	s := newStore(t)
	unlock, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := s.lockContext(ctx, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("second lock: %v, want to wait until %v", err, context.Canceled)
	}
	done := make(chan error, 1)
	waits := make(chan struct{})
	go func() {
		unlock, err := s.lockContext(context.Background(), func() { close(waits) })
		if err == nil {
			unlock()
		}
		done <- err
	}()
	<-waits
	unlock()
	if err := <-done; err != nil {
		t.Errorf("lock after unlock: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 5 {
				name := fmt.Sprintf("k%d", j)
				unlock, err := s.lock()
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.add(func(root *os.Root) (string, record, error) {
					return name, record{Source: "test"}, root.WriteFile(imageFile, []byte(name), 0o644)
				}, quiet(nil), replace)
				unlock()
				if err != nil {
					t.Errorf("add %s: %v", name, err)
				}
				if _, err := s.List(); err != nil {
					t.Errorf("list: %v", err)
				}
				if err := s.SetDefault(name); err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("set default %s: %v", name, err)
				}
				if i == 0 {
					if err := s.Remove(name); err != nil && !errors.Is(err, ErrNotFound) {
						t.Errorf("remove %s: %v", name, err)
					}
				}
			}
		})
	}
	wg.Wait()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("TANDEM_CACHE", "/somewhere/else")
	if dir, err := CacheDir(); err != nil || dir != "/somewhere/else" {
		t.Errorf("CacheDir = %q, %v", dir, err)
	}
	t.Setenv("TANDEM_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/home/x/.cache")
	if dir, err := CacheDir(); err != nil || dir != "/home/x/.cache/tandem" {
		t.Errorf("CacheDir = %q, %v", dir, err)
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if dir, err := CacheDir(); err == nil || !strings.Contains(err.Error(), "TANDEM_CACHE") {
		t.Errorf("CacheDir = %q, %v; want a word of TANDEM_CACHE", dir, err)
	}
}

// TestReleaseThatLeadsOut has a kernel that calls itself by a path. The folder there is not the store's to index.
func TestReleaseThatLeadsOut(t *testing.T) {
	s := newStore(t)
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, release := range []string{"../../../../../outside", "..", ".", "a/b", "/", outside} {
		_, err := s.add(func(root *os.Root) (string, record, error) {
			return "mine", record{Release: release, Source: "test"}, root.WriteFile(imageFile, []byte("image"), 0o644)
		}, quiet(nil), refuse)
		if !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want %v", release, err, ErrName)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
			t.Errorf("%q: outside of the store is %v, %v", release, entries, err)
		}
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestReplaceIsOneStep looks for a kernel while it is replaced over and over: it is there at each moment.
func TestReplaceIsOneStep(t *testing.T) {
	s := newStore(t)
	replaceIt := func() {
		t.Helper()
		temp := filepath.Join(s.dir, tempPrefix+"k")
		for _, err := range []error{
			os.Mkdir(temp, 0o755), os.WriteFile(filepath.Join(temp, recordFile), []byte("{}"), 0o644), s.place(temp, "k", replace),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	replaceIt()
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := s.read("k"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 500 {
		replaceIt()
	}
	close(done)
	reader.Wait()
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
