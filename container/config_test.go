package container

import (
	"encoding/json"
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

func TestParseConfigLeavesOutOtherPlatforms(t *testing.T) {
	got, err := ParseConfig([]byte(`{"ociVersion": "1.2.0", "windows": 7, "unheardOf": [], "linux": {}}`))
	if err != nil || got.Version != "1.2.0" || got.Windows != nil || got.Linux == nil {
		t.Errorf("ParseConfig gave %+v, %v", got, err)
	}
	if _, err := ParseConfig([]byte(`{"ociVersion": 1}`)); err == nil {
		t.Error("ParseConfig took a number for a version")
	}
}
