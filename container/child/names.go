package child

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

type flagName struct {
	bit  uint64
	name string
}

// flagText names the bits that are set, and shows what has no name as a number.
func flagText(v uint64, names []flagName) string {
	var set []string
	for _, f := range names {
		if v&f.bit == f.bit {
			set = append(set, f.name)
			v &^= f.bit
		}
	}
	if v != 0 || len(set) == 0 {
		set = append(set, hex(v))
	}
	return strings.Join(set, "|")
}

// bits are flags that are spelled out when they are printed.
type bits struct {
	v     uint64
	names *[]flagName
}

func (b bits) String() string { return flagText(b.v, *b.names) }

// octal and hexadecimal are numbers that are, likewise.
type (
	octal       uint32
	hexadecimal uint64
)

func (n octal) String() string       { return fmt.Sprintf("%#o", uint32(n)) }
func (n hexadecimal) String() string { return hex(uint64(n)) }

// What else is spelled out only when it is printed.
type (
	quoted       []string
	variables    int
	instructions int
)

func (q quoted) String() string       { return fmt.Sprintf("%q", []string(q)) }
func (n variables) String() string    { return fmt.Sprintf("%d variables", int(n)) }
func (n instructions) String() string { return fmt.Sprintf("%d instructions", int(n)) }

// The namespaces, as clone(2) orders them.
var namespaceFlags = []flagName{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
	{unix.CLONE_NEWNS, "CLONE_NEWNS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"},
	{unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
}

// CloneFlags shows the flags of clone3(2).
func CloneFlags(v uint64) string {
	return flagText(v, append(namespaceFlags[:len(namespaceFlags):len(namespaceFlags)],
		flagName{unix.CLONE_PIDFD, "CLONE_PIDFD"}, flagName{unix.CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP"}))
}

var openFlags = []flagName{
	{unix.O_PATH, "O_PATH"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_CREAT, "O_CREAT"},
	{unix.O_EXCL, "O_EXCL"},
	{unix.O_RDWR, "O_RDWR"},
	{unix.O_WRONLY, "O_WRONLY"},
	{unix.O_CLOEXEC, "O_CLOEXEC"},
	{unix.O_NOCTTY, "O_NOCTTY"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
}

var resolveFlags = []flagName{
	{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
	{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
	{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
	{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
	{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
}

var atFlags = []flagName{
	{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
	{unix.AT_RECURSIVE, "AT_RECURSIVE"},
	{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"},
	{unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"},
	{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
}

var moveFlags = []flagName{
	{unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH"}, {unix.MOVE_MOUNT_T_EMPTY_PATH, "MOVE_MOUNT_T_EMPTY_PATH"},
}

var mountFlags = []flagName{
	{unix.MS_REC, "MS_REC"},
	{unix.MS_BIND, "MS_BIND"},
	{unix.MS_PRIVATE, "MS_PRIVATE"},
	{unix.MS_SLAVE, "MS_SLAVE"},
	{unix.MS_SHARED, "MS_SHARED"},
	{unix.MS_UNBINDABLE, "MS_UNBINDABLE"},
	{unix.MS_REMOUNT, "MS_REMOUNT"},
	{unix.MS_RDONLY, "MS_RDONLY"},
	{unix.MS_NOSUID, "MS_NOSUID"},
	{unix.MS_NODEV, "MS_NODEV"},
	{unix.MS_NOEXEC, "MS_NOEXEC"},
}

var mountAttributes = []flagName{
	{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"},
	{unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
	{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"},
	{unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
	{unix.MOUNT_ATTR_NODIRATIME, "MOUNT_ATTR_NODIRATIME"},
	{unix.MOUNT_ATTR_NOSYMFOLLOW, "MOUNT_ATTR_NOSYMFOLLOW"},
	{unix.MOUNT_ATTR_IDMAP, "MOUNT_ATTR_IDMAP"},
	{unix.MOUNT_ATTR_NOATIME, "MOUNT_ATTR_NOATIME"},
	{unix.MOUNT_ATTR_STRICTATIME, "MOUNT_ATTR_STRICTATIME"},
}

var propagationNames = map[uint64]string{
	unix.MS_PRIVATE: "MS_PRIVATE", unix.MS_SLAVE: "MS_SLAVE", unix.MS_SHARED: "MS_SHARED", unix.MS_UNBINDABLE: "MS_UNBINDABLE",
}
