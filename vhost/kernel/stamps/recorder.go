package stamps

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"tandem/virtio/queue"
)

// Spec says whose rings are stamped.
type Spec struct {
	// Owner is the process that the workers work for, by its number in the first PID namespace; 0 is this one.
	Owner int
	// Queue tells of an available ring's address in the owner's memory which queue of the device that is, and false of
	// one that is another device's: kernel.Net.QueueAt. It is called from one goroutine.
	Queue func(avail uint64) (queue uint16, ours bool)
	// Ifindex is the tap's link, for tracepoints: they see a link, and no ring.
	Ifindex int
	// Sink is told of each step, soon after it was made, from one goroutine. It has Queue set. A queue's stamps come in
	// their order.
	Sink func(Stamp)
	// Report is told of what is wrong with a record. May be nil.
	Report func(error)
	// Tracepoints does without fentry, as a host that refuses it would have to.
	Tracepoints bool
}

// Hop is a step that cannot be seen here, and why.
type Hop struct {
	Name   string // of the stage, or of the kernel's function
	Reason error
}

// Recorder has programs attached to the kernel, until Close.
type Recorder struct {
	spec    Spec
	types   *btf.Cache // of the kernel, while programs are made
	layout  layout
	owner   uint32
	events  *ebpf.Map // the ring buffer
	lost    *ebpf.Map
	workers *ebpf.Map // what a worker is at, by its number
	links   []link.Link
	reader  *ringbuf.Reader
	missing []Hop
	done    chan struct{}
	ended   atomic.Bool

	queues map[ringAt]uint16  // that were found
	chains map[chainOf]uint16 // the available index of those that were popped and are not published yet
}

// chainOf is a chain that the kernel has.
type chainOf struct {
	ring uint64
	head uint16
}

// ringAt is a ring at a time of its life: the kernel uses its structure again.
type ringAt struct{ ring, avail uint64 }

// bufferLen is the ring buffer's size: some twenty thousand stamps.
const bufferLen = 1 << 20

// Open attaches programs to vhost-net. It needs CAP_BPF and CAP_PERFMON, and its error wraps errors.ErrUnsupported
// where the kernel allows nothing of the kind.
func Open(spec Spec) (r *Recorder, err error) {
	if spec.Sink == nil || spec.Queue == nil {
		return nil, errors.New("stamps: open: want a sink and a queue for each ring")
	}
	r = &Recorder{
		spec: spec, owner: uint32(spec.Owner), done: make(chan struct{}), types: btf.NewCache(),
		queues: map[ringAt]uint16{}, chains: map[chainOf]uint16{},
	}
	defer func() {
		if err != nil {
			r.free()
			r = nil
		}
	}()
	kernel, err := r.types.Kernel()
	if err != nil {
		return r, fmt.Errorf("stamps: types of the kernel: %w: %w", errors.ErrUnsupported, err)
	}
	if err := r.layout.common(kernel); err != nil {
		return r, err
	}
	if err := r.maps(); err != nil {
		return r, err
	}
	if spec.Owner == 0 {
		if r.owner, err = self(); err != nil {
			return r, err
		}
	}
	if err := r.attach(); err != nil {
		return r, err
	}
	if r.reader, err = ringbuf.NewReader(r.events); err != nil {
		return r, fmt.Errorf("stamps: ring buffer: %w", err)
	}
	r.types = nil // some ten megabytes
	go r.follow()
	return r, nil
}

func (r *Recorder) maps() (err error) {
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&r.events, ebpf.MapSpec{Name: "stamps", Type: ebpf.RingBuf, MaxEntries: bufferLen}},
		{&r.lost, ebpf.MapSpec{Name: "stamps_lost", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
		{&r.workers, ebpf.MapSpec{Name: "stamps_workers", Type: ebpf.Hash, KeySize: 4, ValueSize: stateLen, MaxEntries: 1024}},
	} {
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			return fmt.Errorf("stamps: map %s: %w: %w", m.spec.Name, errors.ErrUnsupported, err)
		}
	}
	return nil
}

// attach attaches what the kernel allows: its functions, or else the tracepoints.
func (r *Recorder) attach() error {
	err := errors.New("fentry was not asked for")
	if !r.spec.Tracepoints {
		if err = r.functions(); err == nil {
			return nil
		}
	}
	r.detach()
	fallback := r.tracepoints(err)
	if fallback == nil {
		return nil
	}
	return fmt.Errorf("stamps: vhost-net cannot be seen: %w: %w; %w", errors.ErrUnsupported, err, fallback)
}

// Missing is what cannot be seen on this host, and why.
func (r *Recorder) Missing() []Hop { return r.missing }

func (r *Recorder) miss(name string, reason error) {
	r.missing = append(r.missing, Hop{Name: name, Reason: reason})
}

// Lost is how many steps were made that nobody took in time.
func (r *Recorder) Lost() (uint64, error) {
	var n uint64
	if err := r.lost.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("stamps: lost: %w", err)
	}
	return n, nil
}

// follow hands on what programs wrote, until the reader is flushed.
func (r *Recorder) follow() {
	defer close(r.done)
	var record ringbuf.Record
	for {
		if err := r.reader.ReadInto(&record); err != nil {
			if !errors.Is(err, ringbuf.ErrFlushed) && !errors.Is(err, ringbuf.ErrClosed) {
				r.report(fmt.Errorf("stamps: ring buffer: %w", err))
			}
			return
		}
		s, err := parse(record.RawSample)
		if err != nil {
			r.report(err)
			continue
		}
		if r.place(&s) {
			r.index(&s)
			r.spec.Sink(s)
		}
	}
}

// place finds the queue of a stamp, and tells whether it is the device's.
func (r *Recorder) place(s *Stamp) bool {
	if s.Ring == 0 { // a tracepoint saw the link
		if s.Stage == queue.FrameSent {
			s.Queue = 1
		}
		return true
	}
	at := ringAt{s.Ring, s.Avail}
	q, ours := r.queues[at]
	if !ours {
		if q, ours = r.spec.Queue(s.Avail); ours {
			r.queues[at] = q // its structure is the device's as long as that is open
		}
	}
	s.Queue = q
	return ours
}

// index gives a frame the index of its chain, as tandem's own card does: the kernel has forgotten it by then.
func (r *Recorder) index(s *Stamp) {
	chain := chainOf{s.Ring, s.Head}
	switch s.Stage {
	case queue.ChainPopped:
		r.chains[chain] = s.Index
	case queue.FrameSent, queue.FrameReceived:
		s.Index = r.chains[chain]
	case queue.UsedPublished:
		delete(r.chains, chain)
	}
}

func (r *Recorder) report(err error) {
	if r.spec.Report != nil {
		r.spec.Report(err)
	}
}

// Close detaches all programs, and returns when the sink has been told of all that they saw.
func (r *Recorder) Close() error {
	if r.ended.Swap(true) {
		return nil
	}
	err := r.detach()
	err = errors.Join(err, r.reader.Flush())
	<-r.done
	return errors.Join(err, r.free())
}

func (r *Recorder) detach() error {
	var errs []error
	for _, l := range r.links {
		errs = append(errs, l.Close())
	}
	r.links = nil
	return errors.Join(errs...)
}

func (r *Recorder) free() error {
	errs := []error{r.detach()}
	if r.reader != nil {
		errs = append(errs, r.reader.Close())
	}
	for _, m := range []*ebpf.Map{r.events, r.lost, r.workers} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}
