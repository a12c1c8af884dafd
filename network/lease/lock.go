package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lock waits for the bridge's lock. A flock(2) belongs to the open file, so it keeps goroutines apart as well as
// processes, and ends with whoever holds it.
func (f File) lock(ctx context.Context) (*os.File, error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		file, err := f.openLock()
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, file); err != nil {
			return nil, err
		}
		// Whoever had the lock may have removed its file, and others may have made a new one since.
		if same, err := isAt(file, f.lockPath()); err != nil || same {
			return file, err
		}
		file.Close()
	}
}

func (f File) openLock() (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW
	file, err := os.OpenFile(f.lockPath(), flags, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := makeFolder(f.Folder); err != nil {
		return nil, err
	}
	return os.OpenFile(f.lockPath(), flags, 0o600)
}

// makeFolder makes the folder for all to read, as a plan is made without privilege. Who writes there decides where
// packets go.
func makeFolder(path string) error { return os.MkdirAll(path, 0o755) }

// LockFolder waits for the lock of all bridges of a folder, which is the folder's own. It is for the choice of a
// subnet: two bridges, each under its own lock, could choose the same. Whoever holds it may take the locks of
// bridges, and not the other way round.
func LockFolder(ctx context.Context, folder string) (unlock func(), err error) {
	if err := makeFolder(folder); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	file, err := os.Open(folder)
	if err == nil {
		err = flock(ctx, file)
	}
	if err != nil {
		return nil, fmt.Errorf("lease: lock %s: %w", folder, err)
	}
	return func() { file.Close() }, nil
}

// flock takes the file's lock, and closes the file if it fails.
func flock(ctx context.Context, file *os.File) error {
	err := flockRetry(file, unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		if err != nil {
			file.Close()
		}
		return err
	}
	locked := make(chan error, 1)
	go func() { locked <- flockRetry(file, unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			file.Close()
		}
		return err
	case <-ctx.Done():
		// flock can't be called off: the lock comes some time, and is given back at once.
		go func() {
			<-locked
			file.Close()
		}()
		return context.Cause(ctx)
	}
}

func flockRetry(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func isAt(file *os.File, path string) (bool, error) {
	open, err := file.Stat()
	if err != nil {
		file.Close()
		return false, err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		file.Close()
		return false, err
	}
	return os.SameFile(open, named), nil
}

// unlock removes the lock's file with the last lease: those who wait for it see that it is gone, and make a new one.
// With it goes what a writer left that was killed.
func (f File) unlock(lock *os.File) {
	if _, err := os.Lstat(f.Path()); errors.Is(err, fs.ErrNotExist) {
		os.Remove(f.temporaryPath())
		os.Remove(f.lockPath())
	}
	lock.Close()
}
