package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container/image"
)

// watchHealth tests the box's health as long as it runs, and puts down what comes of it.
func (r *Record) watchHealth(ctx context.Context) (stop func()) {
	if r.Healthcheck == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	// A record of its own: the keeper goes on with its one.
	w := &healthWatch{box: *r, check: r.Healthcheck, began: time.Now(), health: *startHealth(r.Healthcheck)}
	w.save()
	done.Go(func() { w.run(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

// healthWatch is a box's keeper's.
type healthWatch struct {
	box    Record
	check  *image.Healthcheck
	began  time.Time
	health Health
}

func (w *healthWatch) run(ctx context.Context) {
	for {
		timer := time.NewTimer(w.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if w.box.Status() == Paused { // it would not answer
			continue
		}
		p, err := w.probe(ctx)
		if ctx.Err() != nil {
			return // the box's end is no sign of ill health
		}
		if err != nil {
			p.Status, p.Output = -1, err.Error()
		}
		p.End = time.Now().UTC()
		changed := w.health.note(p, w.check.Retries, w.inStartPeriod())
		w.save()
		if changed {
			w.box.tell("health_status: " + string(w.health.Status))
		}
	}
}

func (w *healthWatch) inStartPeriod() bool {
	return w.health.Status == HealthStarting && time.Since(w.began) < w.check.StartPeriod
}

func (w *healthWatch) pause() time.Duration {
	if w.inStartPeriod() {
		return w.check.StartInterval
	}
	return w.check.Interval
}

// save puts the health down. That it cannot, for a full disk, say, keeps the box from nothing.
func (w *healthWatch) save() {
	_ = w.box.change(func(now *Record) {
		health := w.health
		now.Health = &health
	})
}

// probe is one test: a command in the box, that ends in time or is killed, with all that it has started and that is of
// its process group still.
func (w *healthWatch) probe(ctx context.Context) (Probe, error) {
	p := Probe{Start: time.Now().UTC()}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return p, err
	}
	defer null.Close()
	out, theirs, err := os.Pipe()
	if err != nil {
		return p, err
	}
	defer out.Close()
	defer theirs.Close()
	e, err := w.box.Exec(ctx, ExecOptions{Command: healthCommand(w.check)}, Streams{Stdin: null, Stdout: theirs, Stderr: theirs})
	if err != nil {
		return p, err
	}
	defer e.Release()
	theirs.Close()
	var text []byte
	var read sync.WaitGroup
	read.Go(func() {
		text, _ = io.ReadAll(io.LimitReader(out, maxProbeOutput)) // what came is told
		_, _ = io.Copy(io.Discard, out)
	})
	timely, cancel := context.WithTimeout(ctx, w.check.Timeout)
	defer cancel()
	ended := killAfter(timely, e.PID())
	late := ended()
	status, err := e.Wait()
	_ = out.SetReadDeadline(time.Now().Add(probeDrain)) // what it has left running may hold the pipe
	read.Wait()
	if err != nil {
		return p, err
	}
	p.Status, p.Output = ExitStatus(status), strings.ToValidUTF8(string(text), "?")
	if late {
		return p, fmt.Errorf("it took longer than %v: %s", w.check.Timeout, p.Output)
	}
	return p, nil
}

// probeDrain is how long the last of a test's output is waited for.
const probeDrain = 100 * time.Millisecond

// killAfter kills a child of this process that leads a session, and its process group, when the context is done. ended
// waits for the child's end, but leaves it to be waited for: until then its number is nobody else's. It tells whether the
// context was done first.
func killAfter(ctx context.Context, pid int) (ended func() (killed bool)) {
	var mu sync.Mutex
	over, killed := false, false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			killed = true
			_ = unix.Kill(-pid, unix.SIGKILL)
		}
	})
	return func() bool {
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		return killed
	}
}
