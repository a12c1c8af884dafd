package net

import (
	"os"
	"syscall"
)

// rawFile is a file whose descriptor is lent to system calls that package os does not have, and kept in the poller
// meanwhile.
type rawFile struct {
	syscall.RawConn
}

func newRawFile(f *os.File) (rawFile, error) {
	conn, err := f.SyscallConn()
	return rawFile{conn}, err
}

func (r rawFile) do(call func(fd int) error) (err error) {
	if controlErr := r.Control(func(fd uintptr) { err = call(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}
