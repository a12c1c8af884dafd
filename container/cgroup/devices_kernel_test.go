package cgroup

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// TestDevicesBite compares the kernel's verdict with Evaluate's, for lists of rules and accesses to devices that do no
// harm, in version 1 and in version 2. The host's version 2 hierarchy does for the program, whatever controllers it
// has.
func TestDevicesBite(t *testing.T) {
	testenv.Need(t, testenv.Root)
	t.Run("files", func(t *testing.T) {
		testenv.Need(t, testenv.Cgroup1)
		devicesBite(t, detect(t))
	})
	t.Run("program", func(t *testing.T) {
		host := detect(t)
		two, ok := host.unified()
		if !ok {
			t.Fatal("neither here nor in the lab is there no version 2 hierarchy")
		}
		devicesBite(t, Host{Hierarchies: []Hierarchy{two}})
	})
}

func devicesBite(t *testing.T, host Host) {
	lists := []string{
		"deny a *:* rwm",
		"allow a *:* rwm",
		"allow c 1:3 rw; allow c 1:5 r; allow b *:* m",
		"allow c 1:* r; allow c *:7 w; allow c 1:3 w", // no single one allows to read and write
		"allow c *:* m; allow c 1:3 rwm; allow c 1:5 rwm; allow c 1:7 rwm",
		"allow a *:* rwm; deny c 1:3 w; deny c 1:5 rwm; deny b *:* m; deny c *:7 r",
		"allow c 1:3 rwm; deny c 1:3 m; allow b 7:77 m",
	}
	var update *Group
	for i, list := range lists {
		d, err := CompileDevices(rules(t, list))
		if err != nil {
			t.Fatal(err)
		}
		g := makeGroup(t, host, `{}`)
		steps, err := g.Update(fromJSON(t, devicesJSON(list)))
		if err != nil {
			t.Fatal(err)
		}
		run(t, steps)
		verdicts(t, g, list, d)
		// One group goes from each list to the next while it is in use.
		if i == 0 {
			update = makeGroup(t, host, devicesJSON(list))
			startIn(t, update, "wait")
		}
		if steps, err = update.Update(fromJSON(t, devicesJSON(list))); err != nil {
			t.Fatal(err)
		}
		run(t, steps)
		verdicts(t, update, "updated to "+list, d)
	}
	if f, ok := update.unified(); ok {
		dir, err := os.Open(f.path)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		ours, err := attached(dir)
		if err != nil || len(ours) != 1 {
			t.Errorf("%d programs are attached after all updates, %v, want 1", len(ours), err)
		}
		for _, p := range ours {
			p.Close()
		}
	}
}

func devicesJSON(list string) string {
	var rules []string
	for line := range strings.SplitSeq(list, ";") {
		words := strings.Fields(line)
		major, minor, _ := strings.Cut(words[2], ":")
		rule := fmt.Sprintf(`"allow":%v,"type":%q,"access":%q`, words[0] == "allow", words[1], words[3])
		if major != "*" {
			rule += `,"major":` + major
		}
		if minor != "*" {
			rule += `,"minor":` + minor
		}
		rules = append(rules, "{"+rule+"}")
	}
	return `{"devices":[` + strings.Join(rules, ",") + `]}`
}

// verdicts has a process in the group try everything.
func verdicts(t *testing.T, g *Group, list string, d Devices) {
	t.Helper()
	type try struct {
		kind         DeviceType
		major, minor int64
		access       Access
	}
	var tries []try
	var job []string
	for _, device := range []struct {
		kind         DeviceType
		major, minor int64
	}{{CharDevice, 1, 3}, {CharDevice, 1, 5}, {CharDevice, 1, 7}, {BlockDevice, 7, 77}} {
		for _, access := range []Access{Read, Write, Read | Write, Mknod} {
			if device.kind == BlockDevice && access != Mknod {
				continue // there is no such disk: only the node can be had
			}
			tries = append(tries, try{device.kind, device.major, device.minor, access})
			job = append(job, fmt.Sprintf("%c:%d:%d:%s", device.kind, device.major, device.minor, access))
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	for i, x := range tries {
		if x.access != Mknod {
			path := fmt.Sprintf("%s/%d", os.TempDir(), i)
			if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(x.major), uint32(x.minor)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := startIn(t, g, append([]string{"access"}, job...)...)
	p.begin(t)
	for i, x := range tries {
		refused := p.line(t)
		if want := d.Evaluate(x.kind, x.major, x.minor, x.access); (refused == "false") != want {
			t.Errorf("%s: %s: the kernel refuses: %s, Evaluate allows: %v", list, job[i], refused, want)
		}
	}
}
