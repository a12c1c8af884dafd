package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// filterFlag is a flag of seccomp(2) that a profile can name.
type filterFlag struct {
	name specs.LinuxSeccompFlag
	bit  uint
}

// flagTSync is in the text of runtime-spec and missing among its Go constants.
const flagTSync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

var filterFlags = [...]filterFlag{
	{flagTSync, unix.SECCOMP_FILTER_FLAG_TSYNC},
	{specs.LinuxSeccompFlagLog, unix.SECCOMP_FILTER_FLAG_LOG},
	{specs.LinuxSeccompFlagSpecAllow, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{specs.LinuxSeccompFlagWaitKillableRecv, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}

// parseFlags makes the flags for seccomp(2).
//
// A profile without a list of flags gets SPEC_ALLOW, as with runc and crun: before Linux 5.16 each filter else turns
// the processor's speculative store bypass off, and makes everything slower. An empty list is one that wants no flag.
func parseFlags(list []specs.LinuxSeccompFlag, notify bool) (uint, error) {
	var flags uint
	if list == nil {
		flags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	for i, name := range list {
		at := slices.IndexFunc(filterFlags[:], func(f filterFlag) bool { return f.name == name })
		if at < 0 {
			return 0, fmt.Errorf("seccomp: flags[%d]: unknown flag %q", i, name)
		}
		flags |= filterFlags[at].bit
	}
	if !notify {
		return flags &^ unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, nil // of a listener, and EINVAL without one
	}
	flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	if flags&unix.SECCOMP_FILTER_FLAG_TSYNC != 0 {
		// Both give seccomp(2) a result, the listener and the thread that could not be synchronised. With this the
		// second is an error instead; else the two are EINVAL together.
		flags |= unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	}
	return flags, nil
}
