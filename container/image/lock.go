package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The store's locks are files that are locked by flock(2), which the kernel drops with its holder.
//
//	content   shared by whoever adds blobs, layers or leases, or uses them without a lease; exclusive for whoever
//	          removes some, who does not wait but leaves it for another time
//	index     exclusive while index.json is read and written again
//	HEX       exclusive while that layer is unpacked
const (
	contentLock = "content"
	indexLock   = "index"
)

var errLocked = errors.New("locked")

// share keeps content from being removed.
func (s *Store) share(ctx context.Context) (unlock func(), err error) {
	return s.lock(ctx, contentLock, unix.LOCK_SH)
}

// lock waits for a lock until ctx is done.
func (s *Store) lock(ctx context.Context, name string, how int) (unlock func(), err error) {
	f, err := s.lockFile(name)
	if err != nil {
		return nil, err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := flock(f, how)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		// A flock that blocks could not be given up: it holds its thread, and no signal of ours would end it for good.
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the lock %s: %w", f.Name(), ctx.Err())
		case <-time.After(pause):
		}
	}
}

// tryLock is lock without waiting, and fails with errLocked.
func (s *Store) tryLock(name string) (unlock func(), err error) {
	f, err := s.lockFile(name)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

func (s *Store) lockFile(name string) (*os.File, error) {
	return os.OpenFile(s.path(locksDir, name), os.O_RDWR|os.O_CREATE, 0o600)
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		default:
			return err
		}
	}
}
