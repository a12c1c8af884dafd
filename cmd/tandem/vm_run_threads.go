package main

import (
	"runtime"

	"tandem/internal/slack"
)

// makeRoom has the Go runtime run as many goroutines at a time as there are threads that sleep in the kernel most of the
// time (vCPUs in KVM_RUN, queues that wait for a kick), and a few more. To the runtime such a thread is in a system call
// like another: it keeps its processor (a P) until the runtime's monitor takes that back, up to 10 ms later. With fewer
// processors than such threads, a kick would wait as long.
//
// Each time that the monitor has taken one back it looks again every 20 us for a while: that was as much of a small
// machine's time as the device itself. It is relaxed.
func makeRoom(sleepers int) {
	slack.Relax(slack.Long)
	const others = 3
	if want := sleepers + others; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}

// sleepers counts those of a guest that have much to do.
func (r *recipe) sleepers() int {
	n := r.CPUs + len(r.Disks)
	for _, c := range r.Cards {
		n += 2 * max(1, c.Queues)
	}
	return n
}
