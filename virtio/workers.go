package virtio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tandem/virtio/memory"
	"tandem/virtio/queue"
)

// Serve handles one chain and returns how many bytes it wrote into the chain's
// writable part. An error means that the queue is broken (see queue.Queue.Broken), but
// for Later.
type Serve func(q *queue.Queue, c *queue.Chain) (written uint32, err error)

// Later is what a Serve returns that cannot serve the chain yet: the chain is put back,
// and served again when so much time has passed, or earlier.
type Later time.Duration

func (l Later) Error() string { return fmt.Sprintf("to be served in %v", time.Duration(l)) }

// Workers serve the queues of a device that answers each chain before it takes the
// next one of that queue: a goroutine a queue, in a thread that sleeps until its
// queue is kicked. Many devices need nothing else: their Activate, Reset, StopQueue, StartQueue and
// Notify are one call each.
//
// The zero Workers serve nothing. They can be started, stopped and started again.
type Workers struct {
	serve func(queue int) Serve
	life  *life

	mu   sync.RWMutex // guards list: Notify reads it at any time
	list []*worker    // by queue number; nil for one that is not served
}

// life is what the workers of one activation share.
type life struct {
	fail   func(error)
	failed atomic.Bool
}

func (l *life) end(err error) {
	l.failed.Store(true)
	l.fail(err)
}

// Start serves all enabled queues. serve gives the handler of each. It returns what is to be the Activation.Fail of those
// who serve the device's other queues, such as a RingServer: once it was called, the workers leave theirs alone. It is
// this activation's for ever: called after Stop, it does nothing to the next one's workers.
func (w *Workers) Start(a *Activation, serve func(queue int) Serve) (fail func(error)) {
	l := &life{fail: a.Fail}
	w.serve, w.life = serve, l
	w.mu.Lock()
	w.list = make([]*worker, len(a.Queues))
	w.mu.Unlock()
	for i, q := range a.Queues {
		if q.Queue != nil {
			w.StartQueue(i, q)
		}
	}
	return l.end
}

// Fail is Activation.Fail, for a device that serves some queues by itself: the workers
// leave theirs alone from here on. Failed tells whether that, or a broken queue of
// theirs, has happened.
func (w *Workers) Fail(err error) { w.life.end(err) }

// Failed tells whether the device waits for a reset. See Fail.
func (w *Workers) Failed() bool { return w.life.failed.Load() }

// StartQueue serves one more queue.
func (w *Workers) StartQueue(i int, q Queue) {
	k := &worker{queue: q, serve: w.serve(i), life: w.life, done: make(chan struct{})}
	w.mu.Lock()
	w.list[i] = k
	w.mu.Unlock()
	go k.run()
}

// StopQueue stops serving a queue. When it returns, no chain of it is in flight.
func (w *Workers) StopQueue(i int) {
	w.mu.Lock()
	k := w.list[i]
	w.list[i] = nil
	w.mu.Unlock()
	if k != nil {
		k.stop()
		k.join()
	}
}

// Stop stops serving all queues. When it returns, no chain is in flight.
func (w *Workers) Stop() {
	w.mu.Lock()
	list := w.list
	w.list = nil
	w.mu.Unlock()
	// All are told before any is waited for: their last chains overlap.
	for _, k := range list {
		if k != nil {
			k.stop()
		}
	}
	for _, k := range list {
		if k != nil {
			k.join()
		}
	}
}

// Notify serves a queue's chains in the caller's thread: see Notified. It does not
// keep the thread for long: when another one is at the queue already, or when a
// guest adds chains as fast as they are served, the queue's goroutine goes on.
func (w *Workers) Notify(i int) {
	w.mu.RLock()
	var k *worker
	if i < len(w.list) {
		k = w.list[i]
	}
	w.mu.RUnlock()
	if k == nil {
		return
	}
	// Whoever is at the queue may have looked for the last time before this
	// chain was there.
	more := !k.busy.TryLock()
	if !more {
		more = k.drain(true, int(k.queue.Config().Size))
		k.busy.Unlock()
	}
	if more {
		// The error is that the eventfd was closed: nobody is left to wake.
		_ = k.queue.Kick.Signal()
	}
}

// Wake has all queues looked at again, such as when what a Serve said Later for is over
// earlier.
func (w *Workers) Wake() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, k := range w.list {
		if k != nil {
			_ = k.queue.Kick.Signal() // an error is that it was closed: nobody is left to wake
		}
	}
}

// worker serves one queue.
type worker struct {
	queue Queue
	serve Serve
	life  *life

	stopping atomic.Bool
	done     chan struct{} // closed when run has returned

	busy  sync.Mutex  // held by whoever uses the queue: run or Notify
	chain queue.Chain // the one in flight
	later *time.Timer // kicks, when Serve has asked for time
}

func (k *worker) run() {
	defer close(k.done)
	kicks, err := k.queue.Kick.NewWaiter()
	if err != nil {
		if !errors.Is(err, os.ErrClosed) {
			k.life.end(err)
		}
		return
	}
	defer kicks.Close()
	// Chains may be there already: a driver may fill the queue, though not kick,
	// before it sets DRIVER_OK.
	for kicked := false; ; kicked = true {
		k.busy.Lock()
		for k.drain(kicked, queue.MaxSize) {
		}
		k.busy.Unlock()
		if k.stopping.Load() {
			return
		}
		if err := kicks.Wait(); err != nil {
			return // closed: no more kicks
		}
	}
}

// drain serves up to limit chains and tells whether there may be more. When it says
// that there are none, the next chain comes with a kick. Called with busy held.
//
// Guest memory that belongs to another process (vhost-user) may have nothing behind
// it any more: the queue is broken then, and the process lives on.
func (k *worker) drain(kicked bool, limit int) (more bool) {
	if k.dead() {
		return false
	}
	if err := memory.Guard(func() { more = k.serveChains(kicked, limit) }); err != nil {
		k.life.end(err)
		return false
	}
	return more
}

func (k *worker) serveChains(kicked bool, limit int) (more bool) {
	if kicked {
		k.queue.Kicked()
	}
	k.queue.DisableKicks()
	for ; limit > 0; limit-- {
		ok, err := k.one()
		if later, isLater := err.(Later); isLater {
			k.comeBack(time.Duration(later))
			return false
		}
		if err != nil {
			k.life.end(err)
			return false
		}
		if k.dead() {
			return false
		}
		if ok {
			continue
		}
		if !k.queue.EnableKicks() {
			return false
		}
		k.queue.DisableKicks()
	}
	return true
}

// one serves one chain, if there is one.
func (k *worker) one() (bool, error) {
	ok, err := k.queue.Pop(&k.chain)
	if err != nil || !ok {
		return false, err
	}
	written, err := k.serve(k.queue.Queue, &k.chain)
	if _, isLater := err.(Later); isLater {
		k.queue.Rewind(1)
	}
	if err != nil {
		return false, err
	}
	k.queue.Push(k.chain.Head, written)
	k.queue.Publish()
	return true, nil
}

// comeBack has the queue looked at again after some time. Until then the driver need
// not kick. Called with busy held.
func (k *worker) comeBack(after time.Duration) {
	if k.later == nil {
		k.later = time.AfterFunc(after, func() { _ = k.queue.Kick.Signal() })
		return
	}
	k.later.Reset(after)
}

// dead tells whether the queue must be left alone: it is being stopped, or the
// device waits for a reset.
func (k *worker) dead() bool { return k.stopping.Load() || k.life.failed.Load() }

// stop asks the worker to take no more chains.
func (k *worker) stop() {
	k.stopping.Store(true)
	_ = k.queue.Kick.Signal()
}

// join waits until it takes none.
func (k *worker) join() {
	<-k.done
	k.busy.Lock() // a Notify may be at its last chain
	defer k.busy.Unlock()
	if k.later != nil {
		k.later.Stop()
	}
	// What woke run is no kick of the next activation's.
	_, _ = k.queue.Kick.Clear()
}
