package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lock keeps other processes, and other goroutines, from changing the store, and waits for them. The kernel drops a
// flock(2) with its holder, so there is no stale one.
func (s *Store) lock() (unlock func(), err error) { return s.lockContext(context.Background(), nil) }

// lockContext is lock that gives up with ctx; waiting is called once if the lock is not free.
func (s *Store) lockContext(ctx context.Context, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		// A blocking flock could not be given up: it holds its thread, and no signal of ours would end it for good.
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock the store: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	f.Close()
	return nil, fmt.Errorf("lock the store: %w", err)
}

// sweep removes what a process that died has left; the caller holds the lock, so nobody is at work on it.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) || strings.HasPrefix(e.Name(), deadPrefix) {
			if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
