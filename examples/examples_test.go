package examples

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.MainHostWide(m) }

// lessonTimeout is for a guest that never ends.
const lessonTimeout = 2 * time.Minute

// needs is what a lesson asks of its host, by the folder's name.
var needs = map[string][]*testenv.Requirement{
	"01-real-mode":    {testenv.KVM},
	"02-long-mode":    {testenv.KVM},
	"03-user-mode":    {testenv.KVM},
	"04-exit-tour":    {testenv.KVM},
	"05-memory-slots": {testenv.KVM},
	"06-eventfd":      {testenv.KVM},
	"07-namespaces":   {testenv.Root, testenv.MountNS, testenv.NetNS, testenv.UserNS},
	"08-veth":         {testenv.Root, testenv.NetNS},
	"09-cgroups":      {testenv.Root, testenv.Busybox},
	"10-overlay":      {testenv.Root, testenv.MountNS, testenv.Overlay},
	"11-container":    {testenv.Root, testenv.MountNS, testenv.NetNS, testenv.Busybox},
	"12-virtqueue":    {},
	"13-kick":         {testenv.KVM},
	"14-vhost-net":    {testenv.Root, testenv.NetNS, testenv.TUN, testenv.VHostNet},
	"15-data-paths":   {testenv.Root, testenv.NetNS, testenv.TUN},
	"16-vsock":        {},
}

func lessons(t *testing.T) []string {
	t.Helper()
	mains, err := filepath.Glob("*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatalf("no lessons: %v", err)
	}
	for i := range mains {
		mains[i] = filepath.Dir(mains[i])
	}
	return mains
}

func TestLessonsPrintWhatTheirReadmeSays(t *testing.T) {
	for _, name := range lessons(t) {
		t.Run(name, func(t *testing.T) {
			need, known := needs[name]
			if !known {
				t.Fatal("nobody said what this lesson needs")
			}
			testenv.Need(t, need...)
			comparePromised(t, name, runLesson(t, name))
		})
	}
}

func comparePromised(t *testing.T, name, printed string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(printed, "\n"), "\n")
	want := promised(t, name)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("line %d is missing: %s", i+1, want[i])
		case i >= len(want):
			t.Errorf("line %d is more than README.md says: %s", i+1, got[i])
		case !pattern(want[i]).MatchString(got[i]):
			t.Errorf("line %d is\n%s\nREADME.md says\n%s", i+1, got[i], want[i])
		}
	}
}

// TestCgroupLessonsWithEitherVersion is for the version that this host does not
// have: another does.
func TestCgroupLessonsWithEitherVersion(t *testing.T) {
	for version, need := range map[string]*testenv.Requirement{"1": testenv.Cgroup1, "2": testenv.Cgroup2} {
		t.Run(version, func(t *testing.T) {
			testenv.Need(t, need, testenv.Root, testenv.Busybox)
			got := runLesson(t, "09-cgroups")
			if want := "cgroup version " + version + ": "; !strings.HasPrefix(got, want) {
				t.Errorf("the lesson does not begin with %q:\n%s", want, got)
			}
			comparePromised(t, "09-cgroups", got)
			comparePromised(t, "11-container", runLesson(t, "11-container"))
		})
	}
}

// TestEventIndexSaves reads the numbers of the lesson on virtqueues: with an index a batch is called for once, where each of its
// chains was. How often the device is kicked is the scheduler's to say.
func TestEventIndexSaves(t *testing.T) {
	out := runLesson(t, "12-virtqueue")
	m := regexp.MustCompile(`event index: +\d+ kicks +(\d+) calls`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no numbers in\n%s", out)
	}
	if calls, err := strconv.Atoi(m[1]); err != nil || calls == 0 || calls > 20000/32 {
		t.Errorf("%s calls for 20000 requests in batches of 32: %v", m[1], err)
	}
}

// TestTracepointsOfAKick is the lesson on kicks where its counters are not left out.
func TestTracepointsOfAKick(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.Root)
	out := runLesson(t, "13-kick")
	for _, row := range []string{
		`a port, unregistered +2000 +0 +2001 +2001 +- `,
		`a port, ioeventfd +2000 +0 +1 +1 +2000 `,
		`an address, unregistered +0 +2000 +2001 +2001 +- `,
		`an address, ioeventfd +0 +2000 +1 +1 +2000 `,
	} {
		if !regexp.MustCompile(row).MatchString(out) {
			t.Errorf("nothing matches %q in\n%s", row, out)
		}
	}
}

// TestAllDataPaths is the lesson on data paths where there is vhost: all four tell when the frame was on the link, which is
// after idx was raised and before the driver was woken.
func TestAllDataPaths(t *testing.T) {
	testenv.Need(t, append(needs["15-data-paths"], testenv.VHostNet)...)
	out := runLesson(t, "15-data-paths")
	const number = ` +([0-9]+\.[0-9])`
	row := func(name string) []float64 {
		m := regexp.MustCompile(name + strings.Repeat(number, 4)).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no numbers for %s in\n%s", name, out)
		}
		var list []float64
		for _, s := range m[1:] {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, v)
		}
		return list
	}
	link, woken := row("on the tap's link"), row("woken by the call")
	for i, path := range []string{"exit", "eventfd", "vhost", "vhost-user"} {
		if link[i] <= 0 || woken[i] <= link[i] {
			t.Errorf("%s: on the link after %v us, the driver woken after %v", path, link[i], woken[i])
		}
	}
}

// TestContainerOfSomeSteps gives the last lesson a command, and looks at what it
// can see after each step.
func TestContainerOfSomeSteps(t *testing.T) {
	testenv.Need(t, needs["11-container"]...)
	binary := buildLesson(t, "11-container")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   string
		want   string
		status int
	}{
		{"-step shell -- busybox sh -c hostname", "box\n", 0},
		{"-step shell -- busybox test -e " + binary, "", 0},
		{"-step root -- test -e " + binary, "", 1},
		{"-step root -- ls /", "bin\nproc\ntmp\n", 0},
		{"-step root -- test -e /proc/1", "", 1},
		{"-step proc -- test -e /proc/1", "", 0},
		{"-step proc -- grep -q 10.0.11.2 /proc/net/fib_trie", "", 1},
		{"-step network -- grep -q 10.0.11.2 /proc/net/fib_trie", "", 0},
		{"-step network -- grep -c lesson /proc/self/cgroup", "0\n", 1},
		{"grep -q lesson /proc/self/cgroup", "", 0},
		{"sh -c exit\t7", "", 7},
		{"-step proc -- cut -d\t -f5 /proc/self/stat", "1\n", 0}, // its process group is its own
		{"-step pid true", "step pid executes nothing, the first that does is shell\n", 1},
		{"-step moon", "no step is called \"moon\": they are uts, pid, shell, root, proc, network, cgroup\n", 1},
	} {
		args := strings.Split(test.args, " ")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\t", " ")
		}
		out, err := runBinary(t, binary, args...)
		status := 0
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatalf("%s: %v", test.args, err)
		}
		if out != test.want || status != test.status {
			t.Errorf("%s prints %q and ends with %d, want %q and %d", test.args, out, status, test.want, test.status)
		}
	}
	if now, err := os.Hostname(); err != nil || now != host {
		t.Errorf("the host is called %s after that (%v), and was %s before", now, err, host)
	}
}

func runLesson(t *testing.T, name string) string {
	t.Helper()
	out, err := runBinary(t, buildLesson(t, name))
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// buildLesson returns the lesson's program, or skips the test where none can be had.
func buildLesson(t *testing.T, name string) string {
	t.Helper()
	if dir := os.Getenv(testenv.LessonsVariable); dir != "" {
		return filepath.Join(dir, name)
	}
	testenv.Need(t, testenv.GoToolchain)
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

func runBinary(t *testing.T, binary string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lessonTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	return string(out), err
}

// promised is the text block of a README.
func promised(t *testing.T, name string) []string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "\n```text\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatal("README.md has no ```text block with what the lesson prints")
	}
	return strings.Split(block, "\n")
}

// pattern reads a line of a README: * stands for anything, {a | b} for one of
// the two.
func pattern(line string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.NewReplacer(
		`\*`, `.*`, `\{`, `(?:`, ` \| `, `|`, `\}`, `)`,
	).Replace(regexp.QuoteMeta(line)) + "$")
}

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		line, text string
		want       bool
	}{
		{"exit 7", "exit 7", true},
		{"exit 7", "exit 77", false},
		{"exit [7]", "exit 7", false},
		{"cpu *, on", "cpu 12, on", true},
		{"  {SHUTDOWN | not here: *}", "  SHUTDOWN", true},
		{"  {SHUTDOWN | not here: *}", "  not here: why", true},
		{"  {SHUTDOWN | not here: *}", "  HLT", false},
	} {
		if got := pattern(test.line).MatchString(test.text); got != test.want {
			t.Errorf("pattern(%q) matches %q: %v, want %v", test.line, test.text, got, test.want)
		}
	}
}

// TestReadmeListsTheLessonsInOrder keeps the list of lessons whole.
func TestReadmeListsTheLessonsInOrder(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile(`\]\(([0-9]{2}-[a-z-]+)/?\)`).FindAllStringSubmatch(string(readme), -1) {
		listed = append(listed, m[1])
	}
	if want := lessons(t); !slices.Equal(listed, want) {
		t.Errorf("README.md lists %v, the folders are %v", listed, want)
	}
}
