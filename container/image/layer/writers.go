package layer

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Most files of a layer are small, and to make one is mostly to wait for the file system. So small files are read from
// the archive into memory and made by a few writers at the same time, while the archive is read on. What depends on
// other names being there, or not, waits for them: hard links, whiteouts, and the end.
const (
	maxWriters = 4
	smallFile  = 128 << 10 // larger ones are written by whoever reads the archive
	maxWaiting = 32        // files in memory
)

// writers makes small files.
type writers struct {
	jobs    chan writeJob
	free    chan []byte    // buffers, to be used again
	waiting sync.WaitGroup // for jobs
	ended   sync.WaitGroup // for writers

	failed atomic.Bool
	mu     sync.Mutex
	err    error // the first
}

// A writeJob is a file to be made.
type writeJob struct {
	entry  Entry
	parent *folder // whose descriptor stays open meanwhile
	dir    int
	name   string
	buffer []byte // as long as the file
	sparse bool
	raw    string // the name in the archive, for errors
}

// startWriters has write called for each job that is given to add.
func startWriters(write func(writeJob) error) *writers {
	w := &writers{jobs: make(chan writeJob, maxWaiting), free: make(chan []byte, maxWaiting)}
	for range min(maxWriters, runtime.GOMAXPROCS(0)) {
		w.ended.Go(func() {
			for job := range w.jobs {
				if !w.failed.Load() {
					if err := write(job); err != nil {
						w.fail(fmt.Errorf("%.*q: %w", unix.PathMax, job.raw, err))
					}
				}
				job.parent.pins.Add(-1)
				select {
				case w.free <- job.buffer[:0]:
				default: // there are enough
				}
				w.waiting.Done()
			}
		})
	}
	return w
}

func (w *writers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.failed.Store(true)
}

// buffer gives memory for a small file.
func (w *writers) buffer(size int64) []byte {
	select {
	case b := <-w.free:
		return b[:size]
	default:
		return make([]byte, size, smallFile)
	}
}

func (w *writers) add(job writeJob) {
	job.parent.pins.Add(1)
	w.waiting.Add(1)
	w.jobs <- job
}

// wait waits until all files are made, and gives the first error.
func (w *writers) wait() error {
	w.waiting.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// stop ends the writers. They may have files to make still, if something else failed.
func (w *writers) stop() {
	w.failed.Store(true)
	close(w.jobs)
	w.ended.Wait()
}

// writeSmall makes a file from memory. Its name must not be there.
func (u *unpacker) writeSmall(job writeJob) error {
	made := job.entry.Mode & 0o777
	fd, err := unix.Openat(job.dir, job.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, made)
	if errors.Is(err, unix.EEXIST) {
		return ErrDuplicate
	}
	if err != nil {
		return err
	}
	grain := holeSize
	if job.sparse {
		grain = blockSize
	}
	hole, written, err := writeSparse(fd, job.buffer, 0, grain)
	u.disk.Add(blocks(written))
	if err == nil && hole {
		err = truncate(fd, job.entry.Size)
	}
	if err == nil {
		err = u.own(fd, &job.entry, made&^u.umask)
	}
	return u.close(fd, job.dir, job.name, &job.entry, err)
}

// close closes a new file, and gives it its time if nothing went wrong.
func (u *unpacker) close(fd, dir int, name string, e *Entry, err error) error {
	if e := unix.Close(fd); err == nil {
		err = e // of a network file system, or a quota
	}
	if err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(dir, name, timespec(e.ModTime), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	return nil
}
