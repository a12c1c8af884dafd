package container

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Every field that the specification has for Linux is read.
func TestParseConfigIsWhole(t *testing.T) {
	want := new(specs.Spec)
	v := reflect.ValueOf(want).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		platform := field.Tag.Get("platform")
		if platform != "" && !strings.Contains(platform, "linux") {
			continue
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("some " + field.Name)
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"a": "b"}))
		default:
			t.Fatalf("%s is a %s", field.Name, f.Kind())
		}
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got)
	if err != nil || string(again) != string(text) {
		t.Errorf("read %s\nas %s, %v", text, again, err)
	}
}

// What is read in a way of its own is read as encoding/json reads the specification's types: all fields, however deep.
func TestParseConfigIsDeep(t *testing.T) {
	full := new(specs.Spec)
	for _, part := range []any{&full.Process, &full.Root, &full.Mounts, &full.Hooks, &full.Linux} {
		fill(t, reflect.ValueOf(part).Elem())
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	want := new(specs.Spec)
	if err := json.Unmarshal(text, want); err != nil {
		t.Fatal(err)
	}
	got, err := ParseConfig(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		again, _ := json.Marshal(got)
		t.Errorf("read %s\nas %s, %v", text, again, err)
	}
}

// fill puts something into all that v consists of.
func fill(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(1))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("name").Convert(v.Type().Key()), value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		switch {
		case v.CanInt():
			v.SetInt(7)
		case v.CanUint():
			v.SetUint(7)
		default:
			t.Fatalf("a %s", v.Type())
		}
	}
}

// A field of the wrong type is named by its whole path.
func TestParseConfigNamesFields(t *testing.T) {
	for text, want := range map[string]string{
		`{"process":{"ioPriority":{"priority":"high"}}}`:                   "process.ioPriority.priority",
		`{"process":{"cwd":1}}`:                                            "process.cwd",
		`{"linux":{"seccomp":{"syscalls":[{"names":"open"}]}}}`:            "linux.seccomp.syscalls.names",
		`{"linux":{"resources":{"blockIO":{"weight":"much"},"cpu":null}}}`: "linux.resources.blockIO.weight",
		`{"linux":{"resources":{"memory":{"limit":"much"}}}}`:              "linux.resources.memory.limit",
		`{"hooks":{"poststop":[{"path":[]}]}}`:                             "hooks.poststop.path",
	} {
		_, err := ParseConfig([]byte(text))
		var kind *json.UnmarshalTypeError
		if !errors.As(err, &kind) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if kind.Field != want {
			t.Errorf("%s: field %q, want %q", text, kind.Field, want)
		}
	}
}

func TestParseConfigLeavesOutOtherPlatforms(t *testing.T) {
	got, err := ParseConfig([]byte(`{"ociVersion": "1.2.0", "windows": 7, "unheardOf": [], "linux": {}}`))
	if err != nil || got.Version != "1.2.0" || got.Windows != nil || got.Linux == nil {
		t.Errorf("ParseConfig gave %+v, %v", got, err)
	}
	if _, err := ParseConfig([]byte(`{"ociVersion": 1}`)); err == nil {
		t.Error("ParseConfig took a number for a version")
	}
}
