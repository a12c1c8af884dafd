package kvm

import (
	"fmt"
	"time"
)

// Call is one ioctl as a Tracer sees it, after it returned.
type Call struct {
	Object   string  // "system", "vm" or "vcpu 3"
	Request  Request // prints as the kernel's name, "KVM_SET_REGS"
	Arg      any     // a copy of the argument as it is after the call; nil if there is none
	Result   int     // what the ioctl returned; 0 when Err is set
	Err      error   // a unix.Errno, or nil
	Start    time.Time
	Duration time.Duration
}

// Tracer is told about each ioctl. It is called on the thread that made the
// ioctl, before the method returns, from several threads at once if several
// vCPUs run. A nil Tracer costs one comparison.
type Tracer func(Call)

// Argument is Arg as text, decoded: "slot 0 gpa 0x0 size 64 KiB".
func (c Call) Argument() string {
	if c.Arg == nil {
		return ""
	}
	return formatArg(c.Arg)
}

// String prints the call in the manner of strace:
//
//	vm: KVM_SET_USER_MEMORY_REGION(slot 0 gpa 0x0 size 64 KiB) = 0 <12µs>
func (c Call) String() string {
	result := fmt.Sprint(c.Result)
	if c.Err != nil {
		result = c.Err.Error()
	}
	return fmt.Sprintf("%s: %v(%s) = %s <%v>", c.Object, c.Request, c.Argument(), result, c.Duration)
}
