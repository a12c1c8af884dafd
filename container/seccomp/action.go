package seccomp

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Action is what a program returns: SECCOMP_RET_* in the upper 16 bits, data for it in the lower.
type Action uint32

// Kind is the action without its data: one of SECCOMP_RET_*.
func (a Action) Kind() uint32 { return uint32(a) & unix.SECCOMP_RET_ACTION_FULL }

// Data is the errno of SECCOMP_RET_ERRNO, and the number that a tracer is told for SECCOMP_RET_TRACE.
func (a Action) Data() uint16 { return uint16(a & unix.SECCOMP_RET_DATA) }

// String gives the action as in ALLOW or ERRNO(EPERM).
func (a Action) String() string {
	i := slices.IndexFunc(actions[:], func(k actionKind) bool { return k.ret == a.Kind() })
	if i < 0 {
		return fmt.Sprintf("%#x", uint32(a))
	}
	switch kind := &actions[i]; {
	case kind.ret == unix.SECCOMP_RET_ERRNO:
		if name := unix.ErrnoName(syscall.Errno(a.Data())); name != "" {
			return "ERRNO(" + name + ")"
		}
		return fmt.Sprintf("ERRNO(%d)", a.Data())
	case kind.data:
		return fmt.Sprintf("%s(%d)", kind.text, a.Data())
	default:
		return kind.text
	}
}

// actionKind is one of the actions that a profile can name.
type actionKind struct {
	name specs.LinuxSeccompAction
	text string
	ret  uint32
	data bool // takes errnoRet
}

var actions = [...]actionKind{
	{specs.ActAllow, "ALLOW", unix.SECCOMP_RET_ALLOW, false},
	{specs.ActErrno, "ERRNO", unix.SECCOMP_RET_ERRNO, true},
	{specs.ActKillThread, "KILL_THREAD", unix.SECCOMP_RET_KILL_THREAD, false},
	{specs.ActKill, "KILL_THREAD", unix.SECCOMP_RET_KILL_THREAD, false}, // the older name
	{specs.ActKillProcess, "KILL_PROCESS", unix.SECCOMP_RET_KILL_PROCESS, false},
	{specs.ActLog, "LOG", unix.SECCOMP_RET_LOG, false},
	{specs.ActNotify, "NOTIFY", unix.SECCOMP_RET_USER_NOTIF, false},
	{specs.ActTrace, "TRACE", unix.SECCOMP_RET_TRACE, true},
	{specs.ActTrap, "TRAP", unix.SECCOMP_RET_TRAP, false},
}

// maxErrno is MAX_ERRNO of linux/err.h. The kernel returns this for a greater one, so a profile that has one means
// something else than it gets.
const maxErrno = 4095

// parseAction reads an action and its errnoRet. The errors name the value, the caller its field.
func parseAction(name specs.LinuxSeccompAction, errnoRet *uint) (Action, error) {
	i := slices.IndexFunc(actions[:], func(k actionKind) bool { return k.name == name })
	if i < 0 {
		return 0, fmt.Errorf("unknown action %q", name)
	}
	kind := &actions[i]
	switch {
	case !kind.data && errnoRet != nil:
		return 0, fmt.Errorf("%s returns no errno, and errnoRet is %d", name, *errnoRet)
	case !kind.data:
		return Action(kind.ret), nil
	case errnoRet == nil:
		return Action(kind.ret | uint32(unix.EPERM)), nil
	case kind.ret == unix.SECCOMP_RET_ERRNO && *errnoRet > maxErrno:
		return 0, fmt.Errorf("errnoRet %d is no errno, the greatest is %d", *errnoRet, maxErrno)
	case *errnoRet > unix.SECCOMP_RET_DATA:
		return 0, fmt.Errorf("errnoRet %d is above %d, which a tracer can be told", *errnoRet, unix.SECCOMP_RET_DATA)
	}
	return Action(kind.ret | uint32(*errnoRet)), nil
}
