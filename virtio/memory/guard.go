package memory

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// ErrFault is why guest memory could not be touched although it is mapped: the file
// behind it became shorter, or the host ran out of huge pages (SIGBUS).
var ErrFault = errors.New("fault in guest memory")

// FaultError names the address of this process whose access failed. It wraps
// ErrFault.
type FaultError struct{ Address uintptr }

func (e *FaultError) Error() string {
	return fmt.Sprintf("memory: access %#x: %v", e.Address, ErrFault)
}

func (e *FaultError) Unwrap() error { return ErrFault }

// Guard runs f and gives a FaultError if f touches a mapping that has nothing behind
// it. Without it the whole process would end, and whoever shares the memory with us
// (a vhost-user peer) can bring that about at any time, by truncating the file. What
// f did before the fault stays done; locks that it took, and gives back without
// defer, stay taken.
//
// It is for the code that uses guest memory that another process owns; it costs a
// few nanoseconds.
func Guard(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		// Only a fault at an address has one; a nil pointer is a mistake of ours.
		if fault, ok := cause.(interface {
			runtime.Error
			Addr() uintptr
		}); ok {
			err = &FaultError{Address: fault.Addr()}
			return
		}
		panic(cause)
	}()
	f()
	return nil
}
