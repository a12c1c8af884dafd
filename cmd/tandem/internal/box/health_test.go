package box

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"tandem/container/image"
)

func TestMergeHealth(t *testing.T) {
	usual := image.Healthcheck{
		Test: []string{"CMD", "a"}, Interval: 30 * time.Second, Timeout: 30 * time.Second, StartInterval: 5 * time.Second, Retries: 3,
	}
	with := func(change func(*image.Healthcheck)) *image.Healthcheck {
		h := usual
		change(&h)
		return &h
	}
	theirs := &image.Healthcheck{Test: []string{"CMD", "a"}}
	for _, test := range []struct {
		what         string
		mine, theirs *image.Healthcheck
		want         *image.Healthcheck
	}{
		{"nothing", nil, nil, nil},
		{"the image's", nil, theirs, &usual},
		{"none at all", &image.Healthcheck{Test: NoTest()}, theirs, nil},
		{"the image has none", nil, &image.Healthcheck{Test: NoTest()}, nil},
		{"an interval without a test", &image.Healthcheck{Interval: time.Second}, nil, nil},
		{"another interval", &image.Healthcheck{Interval: time.Second}, theirs, with(func(h *image.Healthcheck) { h.Interval = time.Second })},
		{"another test", &image.Healthcheck{Test: ShellTest("b")}, theirs, with(func(h *image.Healthcheck) { h.Test = ShellTest("b") })},
		{"the image's number", nil, with(func(h *image.Healthcheck) { h.Retries, h.StartPeriod = 7, 8*time.Second }), with(func(h *image.Healthcheck) { h.Retries, h.StartPeriod = 7, 8*time.Second })},
	} {
		if got := mergeHealth(test.mine, test.theirs); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.what, got, test.want)
		}
	}
}

func TestCheckHealth(t *testing.T) {
	for _, bad := range []image.Healthcheck{
		{Test: []string{"CMD"}},
		{Test: []string{"CMD-SHELL"}},
		{Test: []string{"CMD-SHELL", "a", "b"}},
		{Test: []string{"NONE", "a"}},
		{Test: []string{"true"}},
		{Test: []string{"CMD", ""}},
		{Interval: time.Microsecond},
		{Timeout: -time.Second},
		{StartPeriod: 1},
		{StartInterval: -1},
		{Retries: -1},
	} {
		if err := checkHealth(&bad); !errors.Is(err, ErrOption) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, good := range []*image.Healthcheck{nil, {}, {Test: NoTest()}, {Test: ShellTest("a b")}, {Test: []string{"CMD", "a", "b"}, Interval: time.Millisecond}} {
		if err := checkHealth(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestHealthNote(t *testing.T) {
	type step struct {
		status   int
		starting bool
		want     HealthStatus
		failing  int
		changed  bool
	}
	for what, steps := range map[string][]step{
		"well, ill and well again": {
			{0, false, Healthy, 0, true},
			{1, false, Healthy, 1, false},
			{0, false, Healthy, 0, false},
			{1, false, Healthy, 1, false},
			{-1, false, HealthUnhealthy, 2, true},
			{1, false, HealthUnhealthy, 3, false},
			{0, false, Healthy, 0, true},
		},
		"never well":                         {{1, false, HealthStarting, 1, false}, {1, false, HealthUnhealthy, 2, true}},
		"failures at first do not count":     {{1, true, HealthStarting, 0, false}, {1, true, HealthStarting, 0, false}, {1, false, HealthStarting, 1, false}, {1, false, HealthUnhealthy, 2, true}},
		"well, and the start period is over": {{0, true, Healthy, 0, true}, {1, true, Healthy, 1, false}, {1, true, HealthUnhealthy, 2, true}},
	} {
		h := startHealth(&image.Healthcheck{})
		for i, s := range steps {
			if changed := h.note(Probe{Status: s.status}, 2, s.starting); changed != s.changed || h.Status != s.want || h.Failing != s.failing {
				t.Errorf("%s, step %d: %s, %d, changed %v, want %+v", what, i, h.Status, h.Failing, changed, s)
			}
			if len(h.Log) > maxProbes || h.Log[len(h.Log)-1].Status != s.status {
				t.Errorf("%s, step %d: the log is %v", what, i, h.Log)
			}
		}
	}
}
