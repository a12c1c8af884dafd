package seccomp

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"
)

// Supported is the seccomp section of what an OCI runtime says of itself (runtime-spec, features-linux): what Compile
// knows, and what of it the running kernel knows. On a kernel without seccomp the lists of actions and of supported
// flags are empty.
func Supported() *features.Seccomp {
	enabled := true
	s := &features.Seccomp{
		Enabled: &enabled, Actions: []string{}, Operators: []string{}, Archs: []string{},
		KnownFlags: []string{}, SupportedFlags: []string{},
	}
	for _, a := range actions {
		if actionAvailable(a.ret) {
			s.Actions = append(s.Actions, string(a.name))
		}
	}
	for _, op := range operators {
		s.Operators = append(s.Operators, string(op))
	}
	for _, arch := range knownArchs {
		s.Archs = append(s.Archs, string(arch))
	}
	for _, f := range filterFlags {
		s.KnownFlags = append(s.KnownFlags, string(f.name))
		if flagAvailable(f.bit) {
			s.SupportedFlags = append(s.SupportedFlags, string(f.name))
		}
	}
	return s
}

// actionAvailable asks the kernel for one of SECCOMP_RET_*.
func actionAvailable(action uint32) bool {
	return getActionAvail(action) == nil
}

// flagAvailable offers the kernel a filter at the address 0 with a flag. It looks at the flags first: if it gets as far
// as to find no filter there, it knows them.
func flagAvailable(flag uint) bool {
	if flag == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV {
		flag |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER // which it needs
	}
	return errors.Is(setNoFilter(flag), unix.EFAULT)
}
