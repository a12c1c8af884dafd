package blk

import "sync/atomic"

// Stats are the requests since the disk was opened, answered or not, and the bytes that they asked for.
type Stats struct {
	Reads        uint64 `json:"reads"`
	ReadBytes    uint64 `json:"readBytes"`
	Writes       uint64 `json:"writes"`
	WrittenBytes uint64 `json:"writtenBytes"`
	Flushes      uint64 `json:"flushes"`
}

type counters struct{ reads, readBytes, writes, writtenBytes, flushes atomic.Uint64 }

// Stats may be called at any time.
func (d *Disk) Stats() Stats {
	c := &d.stats
	return Stats{c.reads.Load(), c.readBytes.Load(), c.writes.Load(), c.writtenBytes.Load(), c.flushes.Load()}
}
