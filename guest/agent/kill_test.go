package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"tandem/internal/testenv"
)

// cgroupFolder is a new cgroup v2 folder for a server. Killing needs no controller: also a hierarchy that has none
// will do.
func cgroupFolder(t *testing.T) string {
	t.Helper()
	testenv.Need(t, testenv.Root)
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil || len(mounts) == 0 {
		testenv.Need(t, testenv.Cgroup2)
	}
	dir, err := os.MkdirTemp(mounts[0].Mountpoint, "agent-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil { // what a client has left in it is an error
			t.Errorf("remove cgroup: %v", err)
		}
	})
	return dir
}

// TestControlStreamEnds has a client go away while its commands run, and have children in groups and sessions of
// their own.
func TestControlStreamEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		cgroup bool
		script string
	}{
		{"session", false, "sleep 1000 & echo $!; set -m; sleep 1000 & echo $!; echo $$; exec sleep 1000"},
		{"session's leader has ended", false, "sleep 1000 & echo $!; set -m; sleep 1000 & echo $!; echo $$"},
		{"cgroup", true, "setsid sleep 1000 & echo $!; sleep 1000 & echo $!; echo $$; trap '' TERM INT HUP; sleep 1000"},
		{"cgroup's leader has ended", true, "setsid sleep 1000 & echo $!; sleep 1000 & echo $!; echo $$"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s Server
			if test.cgroup {
				s.Cgroup = cgroupFolder(t)
			}
			c := connectOver(t, &s, socketLink)
			out, stdout := newSignal()
			cmd := c.Command(t.Context(), "sh", "-c", test.script)
			cmd.Stdout, cmd.WaitDelay = stdout, -1
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pids []int
			eventually(t, "three processes", func() bool {
				pids = nil
				for _, line := range strings.Fields(out.String()) {
					var pid int
					if _, err := fmt.Sscan(line, &pid); err != nil {
						t.Fatal(err)
					}
					pids = append(pids, pid)
				}
				return len(pids) == 3
			})
			if strings.Contains(test.name, "ended") {
				if err := cmd.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
			for _, pid := range pids {
				eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return gone(pid) })
			}
		})
	}
}

func TestCgroupOfACommand(t *testing.T) {
	folder := cgroupFolder(t)
	c := connectOver(t, &Server{Cgroup: folder}, socketLink)
	for range 2 {
		out, err := c.Command(t.Context(), "cat", "/proc/self/cgroup").Output()
		if err != nil || !bytes.Contains(out, []byte("/"+filepath.Base(folder)+"/client-")) {
			t.Errorf("cgroup %q, %v", out, err)
		}
	}
	// A command's cgroup goes with it, not only with the client.
	eventually(t, "the commands' cgroups are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(folder, "client-*", "*", "cgroup.procs"))
		return err == nil && len(left) == 0
	})
}

func TestLimits(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Cgroup2)
	folder := cgroupFolder(t)
	parent := filepath.Dir(folder)
	if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory +pids"), 0); err != nil {
		t.Fatal(err)
	}
	c := connectOver(t, &Server{Cgroup: folder}, socketLink)
	cmd := c.Command(t.Context(), "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done")
	cmd.Limits = Limits{Pids: 3}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("fork")) {
		t.Errorf("nine processes where three may be: %q, %v", out, err)
	}
	cmd = c.Command(t.Context(), "sh", "-c", "head -c 100000000 /dev/zero | tail")
	cmd.Limits = Limits{Memory: 8 << 20}
	if err := cmd.Run(); err == nil {
		t.Error("a pipeline holds 100 MB where it may hold 8 MiB")
	}
}

func TestParseStat(t *testing.T) {
	for _, test := range []struct {
		stat    string
		state   byte
		session int
	}{
		{"12 (sh) S 1 12 34 34816 12 4194304", 'S', 34},
		{"12 (a ) R 9 (b) Z 1 12 77 0", 'Z', 77},
		{"12 (sh) S 1 12", 0, 0},
		{"", 0, 0},
		{"12 (sh) S 1 12 x 3", 'S', 0},
	} {
		if state, session := parseStat([]byte(test.stat)); state != test.state || session != test.session {
			t.Errorf("parseStat(%q) = %c, %d, want %c, %d", test.stat, state, session, test.state, test.session)
		}
	}
}
