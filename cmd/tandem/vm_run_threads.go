package main

import "runtime"

// makeRoom has the Go runtime run as many goroutines at a time as there are vCPUs, and a few more for the devices. To the
// runtime a vCPU in KVM_RUN is a system call like another: it keeps its processor (a P) until the runtime's monitor takes
// that back, up to 10 ms later. On a machine with no more CPUs than vCPUs, a kick would wait as long.
func makeRoom(vcpus int) {
	const devices = 3
	if want := vcpus + devices; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}
