package box_test

import (
	"testing"

	"tandem/internal/testenv"
)

func TestRunAppArmor(t *testing.T) {
	b := newBench(t)
	profile := testenv.LoadAppArmor(t, "file,\ncapability,\nnetwork,\nsignal,\ndeny /etc/passwd r,\n")
	const what = "cat /proc/self/attr/apparmor/current; cat /etc/passwd >/dev/null 2>&1 && echo allowed || echo denied"
	for asked, want := range map[string]string{profile: profile + " (enforce)\ndenied\n", "unconfined": "unconfined\nallowed\n"} {
		flags := []string{"--security-opt", "apparmor=" + asked}
		if got := b.run(flags, "sh", "-c", what); got.stdout != want {
			t.Errorf("run %q: %+v, want %q", flags, got, want)
		}
	}
	b.empty()
}
