package trace

import (
	"fmt"
	"sync"
	"time"

	"tandem/virtio/queue"
	"tandem/virtio/stamp"
)

// stampsKept is how many steps of each queue wait to be written. A guest that makes more in the time that it takes to
// write them loses the oldest, which the trace says.
const stampsKept = 1 << 14

// device is one whose queues are traced.
type device struct {
	t        *Tracer
	name     string
	counts   *counts
	recorder *stamp.Recorder

	mu     sync.Mutex // guards what follows: whoever writes
	cursor stamp.Cursor
	list   []stamp.Stamp
}

// Queues gives the observer of a device's virtqueues, nil if they are not traced.
func (t *Tracer) Queues(name string) queue.Observer {
	if !t.has(Virtio) {
		return nil
	}
	d := &device{t: t, name: name, counts: t.counter("virtio"), recorder: stamp.New(stampsKept)}
	t.mu.Lock()
	t.devices = append(t.devices, d)
	t.mu.Unlock()
	go d.follow()
	return d.recorder
}

// follow writes what is stamped, until the tracer's end.
func (d *device) follow() {
	var cursor stamp.Cursor // flush has the real one: this one only tells when to call it
	var list []stamp.Stamp
	for d.recorder.Wait(d.t.ctx, &cursor) == nil {
		list, _ = d.recorder.Read(list[:0], &cursor)
		d.flush()
	}
}

// Flush writes what the queues have been stamped with and is not written yet.
func (t *Tracer) Flush() {
	if t == nil {
		return
	}
	t.mu.Lock()
	devices := t.devices
	t.mu.Unlock()
	for _, d := range devices {
		d.flush()
	}
}

func (d *device) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lost uint64
	d.list, lost = d.recorder.Read(d.list[:0], &d.cursor)
	for i := range d.list {
		d.write(&d.list[i])
	}
	if lost > 0 {
		d.t.write(time.Now(), record{
			Kind: "virtio", Object: d.name, Name: "lost", Detail: fmt.Sprint(lost),
			text: fmt.Sprintf("%s: %d steps were too fast to be written", d.name, lost),
		})
	}
}

func (d *device) write(s *stamp.Stamp) {
	d.counts.add(d.name+" "+s.Stage.String(), 0)
	if d.t.format == None {
		return
	}
	object := fmt.Sprintf("%s queue %d", d.name, s.Queue)
	detail := fmt.Sprintf("head %d index %d length %d", s.Head, s.Index, s.Length)
	switch s.Stage {
	case queue.KickSeen:
		detail = fmt.Sprintf("index %d, %d waiting", s.Index, s.Length)
	case queue.CallSent:
		detail = fmt.Sprintf("index %d", s.Index)
	}
	d.t.write(stamp.At(s.Time), record{
		Kind: "virtio", Object: object, Name: s.Stage.String(), Detail: detail,
		text: fmt.Sprintf("%s: %v %s", object, s.Stage, detail),
	})
}
