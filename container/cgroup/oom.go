package cgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Event is news of a group's memory.
type Event struct {
	Time time.Time
	// OOMs is how often the limit was hit and nothing could be reclaimed: since the watch began in version 1, which
	// tells of each and does not count, in the group's life in version 2.
	OOMs uint64
	// OOMKills is how many processes the OOM killer has ended in the group so far. In version 1 it may not have come to
	// that yet when the event is told.
	OOMKills uint64
}

const oomControl = "memory.oom_control" // version 1

// WatchOOM tells of each time that the group runs out of memory, until ctx ends or the group does, when the channel is
// closed. In version 2 a group ends when its last process has. Events that nobody takes are put together.
func (g *Group) WatchOOM(ctx context.Context) (<-chan Event, error) {
	watch, err := g.oomWatch(ctx)
	if err != nil {
		return nil, fmt.Errorf("cgroup: watch memory: %w", err)
	}
	events := make(chan Event, 1)
	go func() {
		defer close(events)
		watch(func(e Event) {
			select {
			case <-events: // one that was not taken: the new one says more
			default:
			}
			events <- e // there is room: nobody else sends
		})
	}()
	return events, nil
}

func (g *Group) oomWatch(ctx context.Context) (func(tell func(Event)), error) {
	if f, ok := g.with("memory"); ok {
		return f.watchOOM1(ctx)
	}
	f, ok := g.unified()
	if !ok {
		return nil, notMounted("memory", "out-of-memory events")
	}
	return f.watchOOM2(ctx)
}

// watchOOM1 has the kernel count OOMs in an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, section 10). It is
// also written to when the group is removed.
func (f folder) watchOOM1(ctx context.Context) (func(tell func(Event)), error) {
	control, err := openFile(f.file(oomControl), unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.file(oomControl), err)
	}
	defer unix.Close(control)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	eventfd := os.NewFile(uintptr(fd), "eventfd") // polled by Go, so that closing it ends a read
	if err := writeFile(f.file("cgroup.event_control"), fmt.Sprintf("%d %d", fd, control)); err != nil {
		eventfd.Close()
		return nil, fmt.Errorf("%s: %w", f.file("cgroup.event_control"), err)
	}
	return func(tell func(Event)) {
		defer context.AfterFunc(ctx, func() { eventfd.SetReadDeadline(time.Unix(1, 0)) })()
		defer eventfd.Close() // takes the registration with it
		var count [8]byte
		ooms := uint64(0)
		for {
			if _, err := eventfd.Read(count[:]); err != nil || !f.alive() {
				return
			}
			ooms += binary.NativeEndian.Uint64(count[:])
			kills, err := f.oomKills1()
			if err != nil {
				return
			}
			tell(Event{time.Now(), ooms, kills})
		}
	}, nil
}

// watchOOM2 watches memory.events for news, and cgroup.events for the end.
func (f folder) watchOOM2(ctx context.Context) (_ func(tell func(Event)), err error) {
	w, err := newWatcher()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	memory, err := w.open(f.file("memory.events"))
	if err != nil {
		return nil, err
	}
	life, err := w.open(f.file(cgroupEvents))
	if err != nil {
		return nil, err
	}
	last, err := readOOM2(memory)
	if err != nil {
		return nil, err
	}
	text, err := reread(life)
	if err != nil {
		return nil, err
	}
	before, err := parseEvents(text)
	if err != nil {
		return nil, err
	}
	return func(tell func(Event)) {
		defer w.close()
		lived := before.populated // one that has no process yet does not end for that
		for {
			if w.wait(ctx) != nil {
				return
			}
			// Life first: what was the last thing to happen in it is then told all the same.
			text, err := reread(life)
			now, parseErr := parseEvents(text)
			event, eventErr := readOOM2(memory)
			if eventErr == nil && (event.OOMs != last.OOMs || event.OOMKills != last.OOMKills) {
				last = event
				tell(event)
			}
			lived = lived || now.populated
			if err != nil || parseErr != nil || eventErr != nil || lived && !now.populated {
				return
			}
		}
	}, nil
}

func readOOM2(f *os.File) (Event, error) {
	text, err := reread(f)
	if err != nil {
		return Event{}, err
	}
	fields, err := parseFlat(text)
	return Event{time.Now(), fields["oom"], fields["oom_kill"]}, err
}

// OOMKills is how many processes the OOM killer has ended in the group and below.
func (g *Group) OOMKills() (uint64, error) {
	f, one := g.with("memory")
	if !one {
		var ok bool
		if f, ok = g.unified(); !ok {
			return 0, fmt.Errorf("cgroup: %w", notMounted("memory", "out-of-memory kills"))
		}
	}
	kills := f.oomKills1
	if !one {
		kills = f.oomKills2
	}
	n, err := kills()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !f.alive() {
			err = errors.Join(ErrGone, err)
		}
		return 0, fmt.Errorf("cgroup: out-of-memory kills of %s: %w", f.path, err)
	}
	return n, nil
}

// oomKills1 sums up: the counter of version 1 is a group's own, and the killer counts where the process was.
func (f folder) oomKills1() (uint64, error) {
	var sum uint64
	err := eachGroup(f.path, func(dir string) error {
		text, err := readFile(folder{path: dir}.file(oomControl))
		if err != nil {
			return err
		}
		fields, err := parseFlat(text)
		sum += fields["oom_kill"]
		return err
	})
	return sum, err
}

func (f folder) oomKills2() (uint64, error) {
	text, err := readFile(f.file("memory.events"))
	if err != nil {
		return 0, err
	}
	fields, err := parseFlat(text)
	return fields["oom_kill"], err
}
