package firewall

import (
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestLegacyNotes has the kernel make a table, as iptables-legacy does: by asking what is in it (IPT_SO_GET_INFO). A
// kernel that has no such tables can't be asked, and then there is nothing to note.
func TestLegacyNotes(t *testing.T) {
	ns := newHost(t)
	if notes := LegacyNotes(ns, "tandem0"); len(notes) != 0 {
		t.Errorf("a new namespace has %q", notes)
	}
	const getInfo = 64
	var info struct { // struct ipt_getinfo
		name [32]byte
		_    [13]uint32
	}
	copy(info.name[:], "filter")
	size := uint32(unsafe.Sizeof(info))
	made := false
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, getInfo,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		made = errno == 0
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	notes := LegacyNotes(ns, "tandem0")
	if made != (len(notes) == 1) || made && !strings.HasPrefix(notes[0], "iptables-legacy has a filter table") {
		t.Errorf("with a table: %v, the notes are %q", made, notes)
	}
	t.Logf("a table could be made: %v", made)
}
