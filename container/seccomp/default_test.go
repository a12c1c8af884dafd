package seccomp

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func defaultProfile(t testing.TB, capabilities []string) *specs.LinuxSeccomp {
	t.Helper()
	spec, err := Default(capabilities)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestDefault(t *testing.T) {
	none, admin := compile(t, defaultProfile(t, nil)), compile(t, defaultProfile(t, []string{"CAP_SYS_ADMIN"}))
	for _, test := range []struct {
		d           Data
		none, admin Action
	}{
		{native(unix.SYS_OPENAT), allow, allow},
		{native(unix.SYS_MOUNT), errno(unix.EPERM), allow},
		{native(unix.SYS_KEYCTL), errno(unix.EPERM), errno(unix.EPERM)},
		{native(unix.SYS_CLONE, uint64(unix.SIGCHLD)), allow, allow},
		{native(unix.SYS_CLONE, unix.CLONE_NEWUSER|uint64(unix.SIGCHLD)), errno(unix.EPERM), allow},
		{native(unix.SYS_CLONE3), errno(unix.ENOSYS), allow},
		{native(unix.SYS_SOCKET, unix.AF_INET), allow, allow},
		{native(unix.SYS_SOCKET, unix.AF_ALG), errno(unix.EPERM), errno(unix.EPERM)},
		{native(unix.SYS_SOCKET, unix.AF_VSOCK), errno(unix.EPERM), errno(unix.EPERM)},
		{native(unix.SYS_PERSONALITY, 0xffffffff), allow, allow},
		{native(unix.SYS_PERSONALITY, 0x0040000), errno(unix.EPERM), errno(unix.EPERM)},
		{native(5000), errno(unix.ENOSYS), errno(unix.ENOSYS)},
		{Data{NR: 1, Arch: unix.AUDIT_ARCH_AARCH64}, killThread, killThread},
	} {
		if a, b := none.Evaluate(test.d), admin.Evaluate(test.d); a != test.none || b != test.admin {
			t.Errorf("%#x: %v, and %v with CAP_SYS_ADMIN; want %v and %v", test.d, a, b, test.none, test.admin)
		}
	}
	if f := compile(t, defaultProfile(t, nil)); f.Notify || f.Flags != unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW {
		t.Errorf("flags %#x, notify %v", f.Flags, f.Notify)
	}
	changed := defaultProfile(t, nil)
	changed.Syscalls[0].Names[0] = "changed"
	if again := defaultProfile(t, nil); again.Syscalls[0].Names[0] == "changed" {
		t.Error("two callers of Default share a profile")
	}
}
