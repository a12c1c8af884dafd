package image

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestParseHealthcheck(t *testing.T) {
	for text, want := range map[string]*Healthcheck{
		`{}`:                                 nil,
		`{"config":null}`:                    nil,
		`{"config":{"Healthcheck":null}}`:    nil,
		`{"config":{"Healthcheck":{}}}`:      {},
		`{"config":{"Env":["Healthcheck"]}}`: nil,
		`{"config":{"Healthcheck":{"Test":["CMD-SHELL","curl -f http://localhost/ || exit 1"],"Interval":5000000000,"Timeout":1000000000,"StartPeriod":2000000000,"StartInterval":3000000000,"Retries":4}}}`: {
			Test: []string{"CMD-SHELL", "curl -f http://localhost/ || exit 1"}, Interval: 5 * time.Second, Timeout: time.Second,
			StartPeriod: 2 * time.Second, StartInterval: 3 * time.Second, Retries: 4,
		},
	} {
		if got, err := parseHealthcheck([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{`{"config":{"Healthcheck":"true"}}`, `{"config":{"Healthcheck":{"Test":"true"}}}`, `{"config":{"Healthcheck":{"Interval":1e30}}}`} {
		if got, err := parseHealthcheck([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", bad, got, err)
		}
	}
}
