package box

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "0s": now, "1769860800": now, "1769860800.25": now.Add(time.Second / 4),
		"2026-01-31T12:00:00Z": now, "2026-01-31T12:00:00.5Z": now.Add(time.Second / 2),
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local), "2026-01-31T12:00": time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local),
	} {
		if got, err := ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "soon", "1.2.3", "1.0000000001", "2026-13-01", "."} {
		if got, err := ParseTime(bad, now); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", bad, got)
		}
	}
}

// TestMatches has filters of one kind be alternatives, and kinds all be met.
func TestMatches(t *testing.T) {
	e := Event{Type: "container", Action: "exec_start: sh", ID: "abcdef", Name: "web", Image: "busybox", Labels: map[string]string{"a": "b"}}
	for _, test := range []struct {
		filters []string
		want    bool
	}{
		{nil, true},
		{[]string{"container=web"}, true},
		{[]string{"container=abc"}, true},
		{[]string{"container=we"}, false},
		{[]string{"event=exec_start"}, true},
		{[]string{"event=die", "event=exec_start"}, true},
		{[]string{"event=die", "container=web"}, false},
		{[]string{"label=a", "label=c"}, true},
		{[]string{"label=a=c"}, false},
		{[]string{"image=busybox", "type=container"}, true},
		{[]string{"type=network"}, false},
	} {
		if got, err := e.Matches(test.filters); got != test.want || err != nil {
			t.Errorf("%q: %v, %v, want %v", test.filters, got, err, test.want)
		}
	}
}

// TestEventsSurvive has a writer be killed over a line, and a file be begun anew under a reader.
func TestEventsSurvive(t *testing.T) {
	h := &Home{Run: t.TempDir()}
	r := &Record{ID: "id", home: h}
	r.tell("first")
	appendEvents(t, h, `{"time":"2026-01-01T0`)
	r.tell("second")
	seen := make(chan string, 16)
	ended := make(chan error)
	ctx := t.Context()
	go func() {
		ended <- h.Events(ctx, EventOptions{Since: time.Unix(1, 0)}, func(e Event) error {
			seen <- e.Action
			if e.Action == "last" {
				return errUntil
			}
			return nil
		})
	}()
	want := func(actions ...string) {
		t.Helper()
		for _, action := range actions {
			if got := <-seen; got != action {
				t.Errorf("event %q, want %q", got, action)
			}
		}
	}
	want("first", "second")
	appendEvents(t, h, string(make([]byte, maxEvents)))
	r.tell("third") // to a new file
	want("third")
	r.tell("last")
	want("last")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var all []string
	err := h.Events(ctx, EventOptions{Since: time.Unix(1, 0), Until: time.Now()}, func(e Event) error {
		all = append(all, e.Action)
		return nil
	})
	if err != nil || len(all) != 4 {
		t.Errorf("all of them: %q, %v", all, err)
	}
}

func appendEvents(t *testing.T, h *Home, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(h.Run, eventsFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
