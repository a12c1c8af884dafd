package layer

import (
	"fmt"
	"io"
)

// Limits bound what an archive may cost. Zero is no limit.
type Limits struct {
	Bytes   int64 // of its files, holes included
	Entries int   // in it, and folders that it implies
}

// overhead is what an entry may take of the stream besides its data: headers, long names, attributes, padding.
const overhead = 16 << 10

// maxKept bounds what is kept in memory until the end: the names and attributes of folders. A million folders of
// common names have a hundred megabytes of them.
var maxKept = 256 << 20

// Stream is the number of bytes that an archive within the limits may have.
func (l Limits) Stream() int64 {
	if l.Bytes == 0 || l.Entries == 0 {
		return 0
	}
	return l.Bytes + int64(l.Entries)*overhead + 1<<20
}

// limitReader reads no more than limit bytes, and fails, in place of ending, where there are more.
type limitReader struct {
	r     io.Reader
	left  int64
	limit int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	if l.limit == 0 {
		return l.r.Read(p)
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("the archive has more than %d bytes: %w", l.limit, ErrTooLarge)
	}
	return n, err
}
