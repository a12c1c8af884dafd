package examples

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
			testenv.Need(t, append(need, testenv.GoToolchain)...)
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
			testenv.Need(t, need, testenv.Root, testenv.Busybox, testenv.GoToolchain)
			got := runLesson(t, "09-cgroups")
			if want := "cgroup version " + version + ": "; !strings.HasPrefix(got, want) {
				t.Errorf("the lesson does not begin with %q:\n%s", want, got)
			}
			comparePromised(t, "09-cgroups", got)
		})
	}
}

func runLesson(t *testing.T, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lessonTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
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
