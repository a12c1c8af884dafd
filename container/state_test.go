package container

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"tandem/internal/process"
)

// A reader finds a state with its last change or without it, however much of that has been written.
func TestStateIsReadWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	config := "{\n\"ociVersion\": \"1.0.2\"\n}\n"
	a := &assembly{spec: &Spec{Text: []byte(config)}, state: &state{ID: "box", Maker: process.ID{PID: 1, Start: 2}, Beneath: 3}}
	if err := a.writeState(dir); err != nil {
		t.Fatal(err)
	}
	if err := a.writeState(dir); err == nil {
		t.Error("a state was written over another")
	}
	before, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	init := process.ID{PID: 4711, Start: 815}
	if err := (change{Init: init}).append(dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	for n := len(before); n <= len(after); n++ {
		s, text, err := parseState(after[:n])
		if err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(after), err)
		}
		want := process.ID{}
		if n == len(after) {
			want = init
		}
		if s.Init != want || s.Maker.PID != 1 || s.ID != "box" || s.Beneath != 3 || string(text) != config {
			t.Errorf("%d of %d bytes: %+v, configuration %q", n, len(after), s, text)
		}
	}
	for _, bad := range []string{"", "{", `{"configSize": -1}`, "{\"configSize\": 3}\n12", "{}\n{\"init\": 7}\n"} {
		if s, _, err := parseState([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func TestParseVersion(t *testing.T) {
	pattern := regexp.MustCompile(`^1\.(\d+)\.\d+([-+].*)?$`)
	for version, want := range map[string]int{
		"1.0.0": 0, "1.2.1": 2, "1.3.0-rc.1": 3, "1.3.0+dev": 3, "1.2.0-rc+x-y": 2, "1.12.34": 12, "1.0.2-": 0,
	} {
		if got, ok := parseVersion(version); !ok || got != want || !pattern.MatchString(version) {
			t.Errorf("parseVersion(%q) = %d, %v, want %d", version, got, ok, want)
		}
	}
	for _, version := range []string{
		"", "1", "1.", "1.2", "1.2.", "1..2", "2.0.0", "1.2.3.4", "1.2.x", "1.2.3x", "1.+2.3", "1.-2.3", "1.2.-3", "1.2.3-a\nb", " 1.2.3", "v1.2.3",
	} {
		if _, ok := parseVersion(version); ok || pattern.MatchString(version) {
			t.Errorf("parseVersion(%q) takes it", version)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, seed := range []string{"1.0.2", "1.3.0-rc.1+x", "1.2.3\n", "1.٣.0"} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(`^1\.(\d{1,9})\.\d+([-+].*)?$`)
	f.Fuzz(func(t *testing.T, version string) {
		m := pattern.FindStringSubmatch(version)
		if _, ok := parseVersion(version); ok != (m != nil) && len(version) < 12 {
			t.Errorf("parseVersion(%q) takes it: %v", version, ok)
		}
	})
}
