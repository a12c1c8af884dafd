package container

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"tandem/internal/kernfile"
)

// lock is for who removes the container: others that want to wait, and find it gone then. It ends with its holder, however that
// ends. ErrNotFound is a container that is gone, whoever has its ID by now: nothing that bears its name is to be touched.
func (c *Container) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := kernfile.Open(c.dir(), unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	fd := int(dir.Fd())
	if err = flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		locked := make(chan error, 1)
		go func() { locked <- flock(fd, unix.LOCK_EX) }()
		select {
		case err = <-locked:
		case <-ctx.Done():
			go func() {
				<-locked
				dir.Close()
			}()
			return nil, context.Cause(ctx)
		}
	}
	if err == nil {
		err = c.catchUp()
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return func() { dir.Close() }, nil
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// catchUp takes up what has become known of the container since its state was read. ErrNotFound is one that is gone.
func (c *Container) catchUp() error {
	now, err := readState(c.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if now.Maker != c.state.Maker || !now.Created.Equal(c.state.Created) {
		return ErrNotFound // another one of its ID
	}
	c.state.Init, c.state.Beneath = now.Init, now.Beneath
	return nil
}
