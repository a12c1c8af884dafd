package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/process"
)

// Kill ends every process in the group and below with SIGKILL, frozen ones too, and returns when none is left.
//
// Version 2 has a file for it, which no fork escapes. In version 1 the processes are frozen, so that none forks and no
// number is given to another, killed, and let go to die.
func (g *Group) Kill(ctx context.Context) error {
	for _, f := range g.folders {
		if f.Version != 2 {
			continue
		}
		if err := f.kill(ctx); err != nil {
			return fmt.Errorf("cgroup: kill group %s: %w", f.path, err)
		}
	}
	f, ok := g.with("freezer")
	if !ok {
		f = g.counting()
	}
	if f.Version == 2 {
		return nil
	}
	if err := killEach(ctx, f); err != nil {
		return fmt.Errorf("cgroup: kill group %s: %w", f.path, err)
	}
	return nil
}

// kill is the way of version 2 (Linux 5.14).
func (f folder) kill(ctx context.Context) error {
	err := writeFile(f.file("cgroup.kill"), "1")
	if errors.Is(err, fs.ErrNotExist) {
		if !f.alive() {
			return nil
		}
		return killEach(ctx, f) // round by round, until those that fork are too slow
	}
	if err != nil {
		return err
	}
	return f.untilEmpty(ctx)
}

// untilEmpty waits for the last process of a group of version 2 to end.
func (f folder) untilEmpty(ctx context.Context) error {
	err := until(ctx, f.file(cgroupEvents), func(text string) (bool, error) {
		now, err := parseEvents(text)
		return !now.populated, err
	})
	if errors.Is(err, ErrGone) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// freezeLimit is how long a group is given to freeze before its processes are killed as they are. One that is in the
// middle of a fault on a dead network file system may never freeze, and dies no sooner for our waiting.
const freezeLimit = 500 * time.Millisecond

func killEach(ctx context.Context, f folder) error {
	for {
		pids, err := allPids(f.path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrGone) || err == nil && len(pids) == 0 {
			return nil
		}
		if err == nil {
			err = notMe(pids)
		}
		if err != nil {
			return err
		}
		if err := killRound(ctx, f); err != nil {
			return err
		}
	}
}

// killRound kills those that are there, and waits for them.
func killRound(ctx context.Context, f folder) error {
	freezer := slices.Contains(f.Controllers, "freezer")
	if freezer {
		short, cancel := context.WithTimeout(ctx, freezeLimit)
		// Whether it has worked or not, they are killed: one that was not frozen may only have forked meanwhile, and
		// its child is found in the next round.
		_ = f.setFrozen1(short, true)
		cancel()
	}
	dying, err := signalAll(f.path)
	defer dying.close()
	if freezer {
		// A frozen process of version 1 dies when it is let go. Groups below may be frozen on their own.
		err = errors.Join(err, eachGroup(f.path, func(dir string) error {
			return writeFile(folder{path: dir}.file(freezerState), "THAWED")
		}))
	}
	if err != nil {
		return err
	}
	return dying.wait(ctx)
}

// notMe keeps this process from freezing or killing itself.
func notMe(pids []int) error {
	if slices.Contains(pids, os.Getpid()) {
		return fmt.Errorf("%w: this process is in it", ErrInvalid)
	}
	return nil
}

// dying are processes that were killed, by their descriptors: a number may be another's by the time that it is used.
type dying []victim

type victim struct {
	pid int
	fd  *os.File
}

func (d dying) close() {
	for _, v := range d {
		v.fd.Close()
	}
}

// wait returns when all have ended.
func (d dying) wait(ctx context.Context) error {
	w, err := newWatcher()
	if err != nil {
		return err
	}
	defer w.close()
	for _, v := range d {
		if err := w.add(v.fd, unix.EPOLLIN); err != nil {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return fmt.Errorf("process %d does not end: %w", v.pid, err)
		}
		if err := w.remove(v.fd); err != nil {
			return err
		}
	}
	return nil
}

// maxHeld is the number of processes that are held by descriptors at a time. A group may have more than a process may
// have descriptors.
const maxHeld = 256

// signalAll sends SIGKILL to every process in a group and below, and gives some of them to wait for. The caller closes
// what it returns, in any case.
func signalAll(path string) (killed dying, err error) {
	pids, err := allPids(path)
	if err != nil {
		return nil, err
	}
	for len(pids) > 0 {
		held, n, err := hold(pids)
		killed.close() // they are as good as gone
		killed = held
		if err != nil {
			return killed, err
		}
		pids = pids[n:]
		if killed, err = killed.signal(path); err != nil {
			return killed, err
		}
	}
	return killed, nil
}

// hold opens the first of some processes, and tells how many it has gone through.
func hold(pids []int) (held dying, n int, err error) {
	for n < len(pids) && len(held) < maxHeld {
		fd, err := unix.PidfdOpen(pids[n], 0)
		switch {
		case err == nil:
			held = append(held, victim{pids[n], os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pids[n]))})
		case process.IsGone(err):
		case (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)) && len(held) > 1:
			half := len(held) / 2 // who reads the group again needs a few
			n = slices.Index(pids, held[half].pid)
			held[half:].close()
			return held[:half], n, nil
		default:
			return held, n, fmt.Errorf("pidfd_open %d: %w", pids[n], err)
		}
		n++
	}
	return held, n, nil
}

// signal kills those that are still listed in a group: they are meant, now that descriptors hold them, and no others
// that were given their numbers. It gives those.
func (d dying) signal(path string) (dying, error) {
	listed, err := allPids(path)
	if err != nil {
		return d, err
	}
	d = slices.DeleteFunc(d, func(v victim) bool {
		_, ok := slices.BinarySearch(listed, v.pid)
		if !ok {
			v.fd.Close()
		}
		return !ok
	})
	for _, v := range d {
		if err := unix.PidfdSendSignal(int(v.fd.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return d, fmt.Errorf("kill process %d: %w", v.pid, denied(err))
		}
	}
	return d, nil
}
