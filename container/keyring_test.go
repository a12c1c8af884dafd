package container

import (
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The caller's session keyring is not the container's, nor that of what is started in it later: whoever has a keyring for
// his session has the keys in it.
func TestCallersKeysStayHis(t *testing.T) {
	b := newBench(t)
	const name = "tandem-test-session"
	runtime.LockOSThread() // and never unlocked: the keyring is the thread's, and ends with it
	keyring, err := unix.KeyctlJoinSessionKeyring(name)
	if err != nil {
		t.Fatal(err)
	}
	const possessor = 0x3f000000 // KEY_POS_ALL: who does not have it does not see it
	if err := unix.KeyctlSetperm(keyring, possessor); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{false, true} {
		s := b.spec("cat /proc/keys")
		s.NoNewKeyring = keep
		_, out := b.run(s)
		c := b.running(func(s *Spec) { s.NoNewKeyring = keep })
		later, err := b.inside(c, ExecSpec{}, "cat /proc/keys")
		if err != nil {
			t.Error(err)
		}
		for what, keys := range map[string]string{"the first process": out, "one that is started later": later} {
			if has := strings.Contains(keys, name); has != keep {
				t.Errorf("NoNewKeyring %v: %s sees the caller's keyring: %v; of\n%s", keep, what, has, keys)
			}
		}
	}
}
