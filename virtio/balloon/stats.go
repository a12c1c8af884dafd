package balloon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"tandem/virtio/queue"
)

// Tag says what a number of the statistics is. virtio 1.2, section 5.5.6.3.
type Tag uint16

// The tags. Amounts of memory are in bytes.
const (
	SwapIn Tag = iota
	SwapOut
	MajorFaults
	MinorFaults
	FreeMemory
	TotalMemory
	AvailableMemory
	DiskCaches
	HugetlbAllocations
	HugetlbFailures
	tags
)

var tagNames = [tags]string{
	"swap-in", "swap-out", "major-faults", "minor-faults", "free-memory", "total-memory", "available-memory",
	"disk-caches", "hugetlb-allocations", "hugetlb-failures",
}

func (t Tag) String() string {
	if t < tags {
		return tagNames[t]
	}
	return "tag " + strconv.Itoa(int(t))
}

// MarshalText has JSON spell tags out.
func (t Tag) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (t *Tag) UnmarshalText(text []byte) error {
	for i, name := range tagNames {
		if name == string(text) {
			*t = Tag(i)
			return nil
		}
	}
	return fmt.Errorf("virtio/balloon: no statistic %q", text)
}

// Statistics are what the guest says of its memory. A driver may leave any of them out.
type Statistics struct {
	Time   time.Time      `json:"time"`
	Values map[Tag]uint64 `json:"values"`
}

// ErrNoStatistics is why there are none: the guest has no driver that gives them.
var ErrNoStatistics = errors.New("the guest gives no statistics")

const (
	statSize = 10 // struct virtio_balloon_stat
	// maxStats is how many bytes of a buffer are looked at: more than there are tags.
	maxStats = 64 * statSize
)

// statistics is the device's side of the statistics queue.
type statistics struct {
	mu       sync.Mutex
	last     *Statistics   // nil before the first
	wanted   bool          // the buffer is to go back
	arrived  chan struct{} // closed with the next statistics, if anybody waits
	interval time.Duration
	timer    *time.Timer
}

// statsServer serves the statistics queue.
type statsServer struct {
	device *Device
	seen   bool
	index  uint16 // of the chain that is being kept
}

// serve is a virtio.Serve. It sees each chain twice: when it brings numbers, and when it goes back for new ones.
func (s *statsServer) serve(_ *queue.Queue, c *queue.Chain) (uint32, error) {
	st := &s.device.stats
	if !s.seen || s.index != c.Index {
		s.seen, s.index = true, c.Index
		st.arrive(parseStats(c.Readable), s.device.askForStats)
	}
	if !st.takeWanted() {
		return 0, idle
	}
	return 0, nil
}

// parseStats reads what the driver wrote: the first number of each tag, of those tags that there are. (Drivers of
// later versions may send more.)
func parseStats(pieces [][]byte) map[Tag]uint64 {
	var buf [maxStats]byte
	n := 0
	for _, p := range pieces {
		n += copy(buf[n:], p)
	}
	values := map[Tag]uint64{}
	for b := buf[:n]; len(b) >= statSize; b = b[statSize:] {
		tag := Tag(binary.LittleEndian.Uint16(b))
		if _, twice := values[tag]; tag < tags && !twice {
			values[tag] = binary.LittleEndian.Uint64(b[2:])
		}
	}
	return values
}

// arrive takes new numbers. ask is called when it is time for the next.
func (s *statistics) arrive(values map[Tag]uint64, ask func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = &Statistics{Time: time.Now(), Values: values}
	if s.arrived != nil {
		close(s.arrived)
		s.arrived = nil
	}
	s.arm(ask)
}

// arm starts the timer for the next numbers, if there is an interval. Called with mu held.
func (s *statistics) arm(ask func()) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.interval > 0 {
		s.timer = time.AfterFunc(s.interval, ask)
	}
}

func (s *statistics) takeWanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := s.wanted
	s.wanted = false
	return wanted
}

// forget ends with a driver.
func (s *statistics) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.wanted = nil, false
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// askForStats gives the driver its buffer back. Without a driver it does nothing.
func (d *Device) askForStats() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kick == nil {
		return
	}
	d.stats.mu.Lock()
	d.stats.wanted = true
	d.stats.mu.Unlock()
	_ = d.kick.Signal() // it is closed: nobody is there to ask
}

// SetPolling has the guest asked for statistics again and again, with this time between its answer and the next
// question; 0 ends that.
func (d *Device) SetPolling(interval time.Duration) {
	s := &d.stats
	s.mu.Lock()
	s.interval = interval
	if s.last != nil {
		s.arm(d.askForStats)
	}
	s.mu.Unlock()
}

// Statistics are the last ones that came; false if there are none.
func (d *Device) Statistics() (Statistics, bool) {
	s := &d.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return Statistics{}, false
	}
	return *s.last, true
}

// Refresh asks the guest for statistics and waits for them. If ctx ends first, the last ones come with ctx's error.
func (d *Device) Refresh(ctx context.Context) (Statistics, error) {
	s := &d.stats
	s.mu.Lock()
	if s.last == nil {
		s.mu.Unlock()
		return Statistics{}, fmt.Errorf("virtio/balloon: %w", ErrNoStatistics)
	}
	if s.arrived == nil {
		s.arrived = make(chan struct{})
	}
	arrived, last := s.arrived, *s.last
	s.mu.Unlock()
	d.askForStats()
	select {
	case <-arrived:
	case <-ctx.Done():
		return last, fmt.Errorf("virtio/balloon: ask for statistics: %w", context.Cause(ctx))
	}
	if now, ok := d.Statistics(); ok {
		return now, nil
	}
	return last, nil
}
