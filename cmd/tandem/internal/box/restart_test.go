package box

import (
	"errors"
	"testing"
	"time"
)

func TestParseRestart(t *testing.T) {
	for text, want := range map[string]RestartPolicy{
		"no": {}, "": {}, "always": {Name: "always"}, "unless-stopped": {Name: "unless-stopped"},
		"on-failure": {Name: "on-failure"}, "on-failure:3": {Name: "on-failure", Max: 3},
	} {
		got, err := ParseRestart(text)
		if err != nil || got != want {
			t.Errorf("ParseRestart(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseRestart(got.String()); err != nil || again != got {
			t.Errorf("%q was written as %q", text, got)
		}
	}
	for _, bad := range []string{"always:1", "no:1", "on-failure:", "on-failure:-1", "on-failure:x", "never"} {
		if got, err := ParseRestart(bad); !errors.Is(err, ErrOption) {
			t.Errorf("ParseRestart(%q) = %+v, %v, want %v", bad, got, err, ErrOption)
		}
	}
}

func TestRestartPolicyAgain(t *testing.T) {
	for _, test := range []struct {
		policy           string
		status, restarts int
		want             bool
	}{
		{"no", 1, 0, false},
		{"always", 0, 100, true},
		{"unless-stopped", 1, 100, true},
		{"on-failure", 0, 0, false},
		{"on-failure", 1, 100, true},
		{"on-failure:2", 1, 1, true},
		{"on-failure:2", 1, 2, false},
	} {
		p, err := ParseRestart(test.policy)
		if got := p.again(test.status, test.restarts); err != nil || got != test.want {
			t.Errorf("%s, status %d, restart %d: %v, %v", test.policy, test.status, test.restarts, got, err)
		}
	}
	pause := time.Duration(0)
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000} {
		if pause = nextPause(pause, time.Second); pause != want*time.Millisecond {
			t.Errorf("pause %d is %v, want %v", i, pause, want*time.Millisecond)
		}
	}
	if pause = nextPause(pause, 11*time.Second); pause != firstPause {
		t.Errorf("the pause after it ran for long is %v", pause)
	}
}
