package cgroup

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nest makes groups in one another, as a container may that has been given its own, and gives the innermost one. Their
// path is longer than what a system call takes.
func nest(t *testing.T, path string) (innermost int) {
	t.Helper()
	const depth = 25
	name := strings.Repeat("n", 200)
	dirs := make([]int, 0, depth+1)
	t.Cleanup(func() { // what a test has left that failed
		for i, dir := range slices.Backward(dirs) {
			if i < depth {
				if err := rmdir(dir, name); err != nil {
					t.Error(err)
				}
			}
			unix.Close(dir)
		}
	})
	dir, err := unix.Open(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range depth {
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
		if err := unix.Mkdirat(dir, name, 0o755); err != nil {
			t.Fatal(err)
		}
		dir, err = unix.Openat(dir, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	dirs = append(dirs, dir)
	return dir
}

// TestDeepGroups has a container hide a process in groups that have no path.
func TestDeepGroups(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		f, _, ok := g.freezer()
		if !ok {
			t.Fatal("no freezer")
		}
		innermost := nest(t, f.path)
		p := start(t, nil, "wait")
		fd, err := unix.Openat(innermost, procs, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = unix.Write(fd, []byte(strconv.Itoa(p.Process.Pid)))
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		if pids, err := allPids(f.path); err != nil || !slices.Equal(pids, []int{p.Process.Pid}) {
			t.Errorf("allPids = %v, %v, want %d", pids, err, p.Process.Pid)
		}
		for _, change := range []func(context.Context) error{g.Freeze, g.Thaw} {
			if err := change(soon(t)); err != nil {
				t.Error(err)
			}
		}
		if err := g.Kill(soon(t)); err != nil {
			t.Error(err)
		}
		p.Process.Kill() // or the test would wait for it
		if signal := p.ended(t); signal != syscall.SIGKILL {
			t.Errorf("it ended by %v", signal)
		}
		if err := g.Remove(soon(t)); err != nil {
			t.Error(err)
		}
		if f.alive() {
			t.Errorf("%s is left", f.path)
		}
	})
}

// TestEachGroup goes through a tree from which groups vanish meanwhile. Any folders will do.
func TestEachGroup(t *testing.T) {
	top := t.TempDir()
	for _, path := range []string{"a/b/c", "a/d", "e", "f/g/h"} {
		if err := os.MkdirAll(filepath.Join(top, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "a/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var seen []string
	err := eachGroup(top, func(dir string) error {
		rel, err := filepath.Rel(top, dir)
		if err != nil {
			return err
		}
		seen = append(seen, rel)
		if rel == "f" {
			return os.RemoveAll(dir)
		}
		return nil
	})
	slices.Sort(seen)
	if want := []string{".", "a", "a/b", "a/b/c", "a/d", "e", "f"}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("seen %q, %v, want %q", seen, err, want)
	}
	if err := eachGroup(filepath.Join(top, "f"), func(string) error { return nil }); !os.IsNotExist(err) {
		t.Errorf("a group that is gone: %v", err)
	}
	if err := removeOnce(top + "/a"); err == nil || !inUse(err) {
		t.Errorf("removeOnce of a folder with a file: %v", err)
	}
	if err := os.Remove(filepath.Join(top, "a/file")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := removeOnce(top + "/a"); err != nil {
			t.Error(err)
		}
	}
}

// TestKillMoreThanDescriptors kills a group of more processes than this one may have descriptors for.
func TestKillMoreThanDescriptors(t *testing.T) {
	eachVersion(t, func(t *testing.T, host Host) {
		g := makeGroup(t, host, `{}`)
		p := startIn(t, g, "fork", "40")
		p.begin(t)
		if got := p.line(t); got != "40 ok" {
			t.Fatal(got)
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(next)
		few := unix.Rlimit{Cur: uint64(next) + 25, Max: limit.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		err = killEach(soon(t), g.counting())
		if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); e != nil {
			t.Fatal(e)
		}
		if err != nil {
			t.Error(err)
		}
		killed(t, g)
	})
}
