package container

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/fastjson"
	"tandem/internal/process"
)

// fullState has something in every field but what is left to encoding/json.
func fullState(t *testing.T) (s state) {
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() && field.Type != reflect.TypeFor[time.Time]() {
			fill(t, v.Field(i))
		}
	}
	s.Created, s.RDT = time.Unix(1, 1).UTC(), nil
	return s
}

func someStates() []state {
	made := time.Date(2026, 11, 22, 15, 0, 0, 123456000, time.UTC)
	hooks := []specs.Hook{{Path: "/bin/true", Args: []string{"true", "a\"b"}, Timeout: new(3)}, {}}
	states := []state{{}, {
		ID: "box", Bundle: "/b", Rootfs: "/b/rootfs", Created: made, Owner: -1, Maker: process.ID{PID: 1, Start: 2},
		Init: process.ID{PID: 4711, Start: math.MaxUint64}, Cgroup: map[string]string{"": "/x"}, Version: "1.0.2", Command: "sh",
		ConfigSize: math.MaxInt,
	}, {
		ID: "full", Created: made.In(time.FixedZone("", -90*60)), Cgroup: map[string]string{"cpu,cpuacct": "/y", "b": "/z", "a": ""},
		RDT: &rdtState{Path: "/r", Tasks: []string{"/r/tasks"}}, Annotations: map[string]string{"k": "v", "": "w"},
		Poststart: hooks, Poststop: hooks[:1], StartHooks: hooks[1:],
		HostMounts: true, Beneath: math.MaxUint64, Notify: true, OwnPIDs: true, OwnKeys: true,
	}}
	for _, odd := range []string{"\"\\/", "\x00\x1f\x7f\n", "<&>", "ü\u2028", "a\xff\xed\xa0\x80"} {
		states = append(states, state{
			Bundle: odd, Rootfs: odd, Version: odd, Command: odd, Cgroup: map[string]string{odd: odd},
			Annotations: map[string]string{odd: odd, "a": odd},
		})
	}
	return states
}

// What is written is what encoding/json would write, and is read as encoding/json reads it.
func TestStateIsWrittenAsEver(t *testing.T) {
	for _, s := range append(someStates(), fullState(t)) {
		got, err := s.encode()
		want, _ := json.Marshal(s)
		if err != nil || string(got) != string(want) {
			t.Errorf("wrote %s, %v, want\n%s", got, err, want)
		}
		var read, wanted state
		if err := read.decode(want); err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(want, &wanted); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(read, wanted) {
			t.Errorf("%s is read as\n%+v, want\n%+v", want, read, wanted)
		}
		if _, ok := quickState(want); ok != (s.RDT == nil) {
			t.Errorf("%s is left to encoding/json: %v", want, !ok)
		}
	}
	for _, c := range []change{{}, {Init: process.ID{PID: 1, Start: 2}}, {Init: process.ID{PID: -3}, Beneath: math.MaxUint64}} {
		got, err := c.encode()
		want, _ := json.Marshal(c)
		if err != nil || string(got) != string(want) {
			t.Errorf("wrote %s, %v, want\n%s", got, err, want)
		}
		if _, ok := quickState(want); !ok {
			t.Errorf("%s is left to encoding/json", want)
		}
	}
}

// quickState reads a line without encoding/json.
func quickState(line []byte) (s state, ok bool) {
	r := fastjson.New(line)
	fastjson.Struct(r, &s, stateField)
	return s, r.Done()
}

func FuzzState(f *testing.F) {
	for _, s := range someStates() {
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"created":"2026-11-22T15:00:00\u005a","init":{"pid":1},"init":{"start":2}}`))
	f.Add([]byte(`{"created":"2026-11-22t15:00:00z","owner":0.5,"poststop":[{"timeout":1,"timeout":2}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, ok := quickState(text)
		if !ok {
			return
		}
		var want state
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q is read, and encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as\n%+v, want\n%+v", text, got, want)
		}
	})
}
