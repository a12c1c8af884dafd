// Package thread has threads to throw away: for what a thread cannot undo, such as another namespace.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Throwaway calls f on a thread that ends afterwards, whatever f has made of it. A process that f forks starts out with what
// the thread has. f's goroutine is locked to the thread, and must not unlock it.
//
// It is never the process's first thread. That cannot end before the process: the runtime would park it for ever, in the
// namespaces that it has by then, which would live on with it; and /proc/self shows what it sees.
func Throwaway(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		throwaway(f)
	}()
	<-done
}

func throwaway(f func()) {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
	if unix.Gettid() == unix.Getpid() {
		Throwaway(f) // this goroutine holds the first thread meanwhile, so that it is another's turn
		runtime.UnlockOSThread()
		return
	}
	f()
}
