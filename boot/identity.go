package boot

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fileID is what tells a file, and its contents at a time, from others without reading it.
type fileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Size   int64  `json:"size"`
	Write  int64  `json:"mtime"` // nanoseconds
	Change int64  `json:"ctime"`
}

func identify(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return fileID{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, nil
}

// settledBefore tells whether the file had been left alone for long enough at t for its times to tell any later change.
func (id fileID) settledBefore(t time.Time) bool {
	return time.Unix(0, max(id.Write, id.Change)).Add(settled).Before(t)
}
