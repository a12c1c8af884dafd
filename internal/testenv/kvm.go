package testenv

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A guest kernel boots some hundred million instructions at CPL 0. A KVM that interprets them does a few million a
// second; the slowest that Linux boots on in reasonable time, SVM emulated by QEMU, does tens of millions.
const linuxRate = 20e6

func checkKVM() error {
	f, err := openKVM()
	if err != nil {
		return err
	}
	return f.Close()
}

func openKVM() (*os.File, error) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	version, err := ioctl(f, kvmGetAPIVersion, 0)
	if err == nil && version != 12 { // KVM_API_VERSION, the only one since Linux 2.6.22
		err = fmt.Errorf("/dev/kvm has API version %d, want 12", version)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkKVMLinux() error {
	rate, err := kernelModeRate()
	if err != nil {
		return err
	}
	if rate < linuxRate {
		return fmt.Errorf("guest kernel mode runs %.1f million instructions a second, Linux needs %.0f",
			rate/1e6, linuxRate/1e6)
	}
	return nil
}

// countdown is a loop of 0x8000 rounds in real mode, which is kernel mode as far as KVM is concerned, then a halt.
var countdown = []byte{
	0xb9, 0x00, 0x80, // mov cx, 0x8000
	0x90,       // nop
	0xe2, 0xfd, // loop -3
	0xf4, // hlt
}

const (
	countdownInstructions = 2*0x8000 + 2
	countdownPatience     = time.Second // of wall time, for a machine that is busy with something else
	countdownFewest       = 3           // runs, however slow: the first faults the guest's pages in
)

// kernelModeRate runs countdown as a guest until one run is fast enough for Linux, or patience ends, and returns the
// instructions a second of the best. A run lasts about a millisecond where Linux can be run at all, so one that
// another process interrupted says nothing, and a lab has no clock that would leave such time out.
func kernelModeRate() (float64, error) {
	kvm, err := openKVM()
	if err != nil {
		return 0, err
	}
	defer kvm.Close()
	guest, err := newTinyGuest(kvm, countdown)
	if err != nil {
		return 0, err
	}
	defer guest.close()

	runtime.LockOSThread() // KVM wants every KVM_RUN from one thread
	defer runtime.UnlockOSThread()
	best, start := 0.0, time.Now()
	for n := 0; best < linuxRate && (n < countdownFewest || time.Since(start) < countdownPatience); n++ {
		took, err := guest.run()
		if err != nil {
			return 0, err
		}
		best = max(best, countdownInstructions/took.Seconds())
	}
	return best, nil
}
