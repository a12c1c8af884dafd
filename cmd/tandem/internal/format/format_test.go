package format

import (
	"errors"
	"strings"
	"testing"
)

var (
	heading = Row{"ID": "CONTAINER ID", "Names": "NAMES", "Labels": "LABELS"}
	rows    = []Row{
		{"ID": "4bd5", "Names": "web", "Labels": Labels{"b": "2", "a": "<1>", "com.x.my-role": "front"}},
		{"ID": "10d6b9c74b1d", "Names": "db,other", "Labels": Labels(nil)},
	}
)

func TestList(t *testing.T) {
	for _, test := range []struct{ format, want string }{
		{`{{.ID}}`, "4bd5\n10d6b9c74b1d\n"},
		{`{{.ID}}\t{{.Names}}`, "4bd5\tweb\n10d6b9c74b1d\tdb,other\n"},
		{`{{.Label "b"}}.`, "2.\n.\n"},
		{`{{.Labels}}`, "a=<1>,b=2,com.x.my-role=front\n\n"},
		{`{{json .}}`, `{"ID":"4bd5","Labels":"a=<1>,b=2,com.x.my-role=front","Names":"web"}` + "\n" + `{"ID":"10d6b9c74b1d","Labels":"","Names":"db,other"}` + "\n"},
		{`json`, `{"ID":"4bd5","Labels":"a=<1>,b=2,com.x.my-role=front","Names":"web"}` + "\n" + `{"ID":"10d6b9c74b1d","Labels":"","Names":"db,other"}` + "\n"},
		{`{{json .Names}}`, "\"web\"\n\"db,other\"\n"},
		{`{{range split .Names ","}}<{{.}}>{{end}}`, "<web>\n<db><other>\n"},
		{`{{with .Names}}{{.}}{{$.ID}}{{end}}`, "web4bd5\ndb,other10d6b9c74b1d\n"},
		{`{{join (split .Names ",") "+"}}`, "web\ndb+other\n"},
		{`{{upper .Names}} {{title .Names}} {{truncate .ID 2}} {{pad .ID 1 2}}.`, "WEB Web 4b  4bd5  .\nDB,OTHER Db,other 10  10d6b9c74b1d  .\n"},
		{`table {{.ID}}\t{{upper .Names}}`, "CONTAINER ID   NAMES\n4bd5           WEB\n10d6b9c74b1d   DB,OTHER\n"},
		{`table{{.Names}}\t{{.Label "com.x.my-role"}}`, "NAMES      my role\nweb        front\ndb,other   \n"},
		{`tables {{.ID}}`, "tables 4bd5\ntables 10d6b9c74b1d\n"},
		{`x`, "x\nx\n"},
	} {
		l, err := Parse(test.format, heading)
		if err != nil {
			t.Errorf("%s: %v", test.format, err)
			continue
		}
		var out strings.Builder
		if err := l.Print(&out, rows); err != nil || out.String() != test.want {
			t.Errorf("%s prints %q, %v, want %q", test.format, out.String(), err, test.want)
		}
	}
	for _, own := range []string{"", "table", "table "} {
		if l, err := Parse(own, heading); err != nil || !l.Own() {
			t.Errorf("%q: %+v, %v", own, l, err)
		}
	}
}

func TestListErrors(t *testing.T) {
	for _, test := range []struct{ format, want string }{
		{`{{.ID`, "line 1: unclosed action"},
		{`{{nope .ID}}`, `function "nope" not defined`},
		{`{{.Foo}}`, "no such name: .Foo: want .ID, .Labels, .Names"},
		{`{{.id}}`, "no such name: .id"},
		{`{{if .Foo}}x{{end}}`, ".Foo"},
		{`{{if .ID}}{{.Foo}}{{end}}`, ".Foo"},
		{`{{if .ID}}{{else}}{{.Foo}}{{end}}`, ".Foo"},
		{`{{range .Foo}}x{{end}}`, ".Foo"},
		{`{{with .ID}}{{else}}{{.Foo}}{{end}}`, ".Foo"},
		{`{{$.Foo}}`, ".Foo"},
		{`{{(.Foo).Bar}}`, ".Foo"},
		{`{{template "x" .Foo}}{{define "x"}}{{.}}{{end}}`, ".Foo"},
		{`table {{.Foo}}`, ".Foo"},
	} {
		if l, err := Parse(test.format, heading); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %q", test.format, l, err, test.want)
		}
	}
	if _, err := Parse(`{{.Label "x"}}`, Row{"ID": "ID"}); !errors.Is(err, errName) {
		t.Errorf("labels of what has none: %v", err)
	}
	for _, format := range []string{`{{slice .ID 9}}`, `{{template "none"}}`, `{{.ID.Foo}}`} {
		l, err := Parse(format, heading)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		var out strings.Builder
		if err := l.Print(&out, rows); err == nil || !strings.HasPrefix(err.Error(), "line 1:") || out.Len() != 0 {
			t.Errorf("%s prints %q, %v", format, out.String(), err)
		}
	}
}

func TestDocuments(t *testing.T) {
	type state struct {
		Status string
		Health *struct{ Status string }
	}
	type docker struct {
		Name   string
		State  state
		Labels map[string]string `json:",omitempty"`
	}
	list := []Document{{docker{Name: "web", State: state{Status: "running"}}, map[string]any{"status": "up", "pid": 1 << 40}}, {docker{Name: "db"}, map[string]any{"status": "gone"}}}
	for _, test := range []struct{ format, want string }{
		{`{{.State.Status}}`, "running\n\n"},
		{`{{.status}}`, "up\ngone\n"},
		{`{{.Labels.none}}`, "<no value>\n<no value>\n"},
		{`{{json .State}}`, `{"Status":"running","Health":null}` + "\n" + `{"Status":"","Health":null}` + "\n"},
		{` json`, `[{"Name":"web","State":{"Status":"running","Health":null}},{"Name":"db","State":{"Status":"","Health":null}}]` + "\n"},
	} {
		d, err := ParseDocuments(test.format)
		if err != nil {
			t.Errorf("%s: %v", test.format, err)
			continue
		}
		var out strings.Builder
		if err := d.Print(&out, list); err != nil || out.String() != test.want {
			t.Errorf("%s prints %q, %v, want %q", test.format, out.String(), err, test.want)
		}
	}
	var out strings.Builder
	d, err := ParseDocuments(`{{.pid}}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Print(&out, list); err == nil || !strings.Contains(err.Error(), "can't evaluate field pid") || out.String() != "1099511627776\n" {
		t.Errorf("a name that one of two has: %q, %v", out.String(), err)
	}
	for _, test := range []struct{ format, want string }{
		{`{{.Foo}}`, "can't evaluate field Foo"},
		{`{{.State.Health.Status}}`, "nil pointer"},
	} {
		d, err := ParseDocuments(test.format)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Print(&strings.Builder{}, list); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.format, err, test.want)
		}
	}
	if _, err := ParseDocuments(`{{`); err == nil {
		t.Error("half a template: no error")
	}
}
