package trace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// counts is one recorder's sums. A vCPU has its own, so that its lock is never
// waited for until the table is printed.
type counts struct {
	kind string

	mu   sync.Mutex
	rows map[string]*row
}

type row struct {
	count int64
	total time.Duration
	most  time.Duration
}

func (t *Tracer) counter(kind string) *counts {
	c := &counts{kind: kind, rows: map[string]*row{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = append(t.counts, c)
	return c
}

func (c *counts) add(name string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rows[name]
	if r == nil {
		r = &row{}
		c.rows[name] = r
	}
	r.count++
	r.total += took
	r.most = max(r.most, took)
}

// Row is a line of the table.
type Row struct {
	Kind  string        `json:"kind"` // kvm, guest (time before an exit), exit (time to answer it), bus, virtio
	Name  string        `json:"name"`
	Count int64         `json:"count"`
	Total time.Duration `json:"total_ns"` // 0 for kinds that take no time of their own
	Most  time.Duration `json:"most_ns"`
}

// Table sums up what happened so far, by kind, the most frequent first.
func (t *Tracer) Table() []Row {
	if t == nil {
		return nil
	}
	t.Flush()
	t.mu.Lock()
	all := slices.Clone(t.counts)
	t.mu.Unlock()

	type key struct{ kind, name string }
	sums := map[key]*Row{}
	for _, c := range all {
		c.mu.Lock()
		for name, r := range c.rows {
			k := key{c.kind, name}
			if sums[k] == nil {
				sums[k] = &Row{Kind: c.kind, Name: name}
			}
			sums[k].Count += r.count
			sums[k].Total += r.total
			sums[k].Most = max(sums[k].Most, r.most)
		}
		c.mu.Unlock()
	}
	table := make([]Row, 0, len(sums))
	for _, r := range sums {
		table = append(table, *r)
	}
	slices.SortFunc(table, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(order(a.Kind), order(b.Kind)),
			cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return table
}

func order(kind string) int {
	return slices.Index([]string{"kvm", "guest", "exit", "bus", "virtio"}, kind)
}

// WriteTable prints how often each kind of event happened and how long it took,
// in the tracer's format.
func (t *Tracer) WriteTable(w io.Writer) error {
	if t == nil {
		return nil
	}
	t.end()
	if t.format == JSON {
		return t.writeJSONTable(w)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s %-32s %10s %12s %12s %12s\n", "kind", "what", "count", "total", "mean", "most")
	for _, r := range t.Table() {
		fmt.Fprintf(&b, "%-7s %-32s %10d", r.Kind, r.Name, r.Count)
		if r.Total > 0 {
			mean := r.Total / time.Duration(r.Count)
			fmt.Fprintf(&b, " %12v %12v %12v", r.Total.Round(time.Microsecond), mean, r.Most)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Tracer) writeJSONTable(w io.Writer) error {
	return json.NewEncoder(w).Encode(struct {
		Table []Row `json:"table"`
	}{t.Table()})
}
