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

// Stamps gives who is told of steps that others took for a device, the kernel say, and when; nil if they are not traced.
// whole tells whether the stamp has the head and the index that its stage has. It may be called from any number of
// goroutines.
func (t *Tracer) Stamps(name string) func(s stamp.Stamp, whole bool) {
	if !t.has(Virtio) {
		return nil
	}
	d := &device{t: t, name: name, counts: t.counter("virtio")}
	return func(s stamp.Stamp, whole bool) {
		d.write(&s, whole)
	}
}

// Unseen notes a step of a device that cannot be traced on this host, and why.
func (t *Tracer) Unseen(device, step string, why error) {
	if !t.has(Virtio) {
		return
	}
	t.reports.add(device+" not to be seen: "+step, 0)
	t.write(time.Now(), record{
		Kind: "virtio", Object: device, Name: "unseen", Detail: step, Error: why.Error(),
		text: fmt.Sprintf("%s: not to be seen: %s: %v", device, step, why),
	})
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
		d.write(&d.list[i], true)
	}
	if lost > 0 {
		d.t.write(time.Now(), record{
			Kind: "virtio", Object: d.name, Name: "lost", Detail: fmt.Sprint(lost),
			text: fmt.Sprintf("%s: %d steps were too fast to be written", d.name, lost),
		})
	}
}

func (d *device) write(s *stamp.Stamp, whole bool) {
	d.counts.add(d.name+" "+s.Stage.String(), 0)
	if d.t.format == None {
		return
	}
	object := fmt.Sprintf("%s queue %d", d.name, s.Queue)
	detail := fmt.Sprintf("head %d index %d length %d", s.Head, s.Index, s.Length)
	switch {
	case s.Stage == queue.WorkerWoken:
		detail = "for a kick or a frame"
	case !whole:
		detail = fmt.Sprintf("length %d", s.Length)
	case s.Stage == queue.KickSeen:
		detail = fmt.Sprintf("index %d, %d waiting", s.Index, s.Length)
	case s.Stage == queue.CallSent:
		detail = fmt.Sprintf("index %d", s.Index)
	}
	d.t.write(stamp.At(s.Time), record{
		Kind: "virtio", Object: object, Name: s.Stage.String(), Detail: detail,
		text: fmt.Sprintf("%s: %v %s", object, s.Stage, detail),
	})
}
