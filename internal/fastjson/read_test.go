package fastjson

import (
	"encoding/json"
	"reflect"
	"testing"
)

type kind string

type part struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

func partField(r *Reader, key string, p *part) {
	switch key {
	case "name":
		p.Name = r.String()
	case "size":
		p.Size = Number[int64](r)
	default:
		r.GiveUp()
	}
}

// sample has one of everything.
type sample struct {
	Text    string            `json:"text"`
	Kind    kind              `json:"kind"`
	Yes     bool              `json:"yes"`
	Small   *uint16           `json:"small"`
	Signed  int32             `json:"signed"`
	Big     uint64            `json:"big"`
	Inside  part              `json:"inside"`
	Part    *part             `json:"part"`
	Parts   []part            `json:"parts"`
	Words   []string          `json:"words"`
	More    []string          `json:"more"`
	Kinds   []kind            `json:"kinds"`
	Numbers []uint32          `json:"numbers"`
	Names   map[string]string `json:"names"`
}

func sampleField(r *Reader, key string, s *sample) {
	switch key {
	case "text":
		s.Text = r.String()
	case "kind":
		s.Kind = Word[kind](r)
	case "yes":
		s.Yes = r.Bool()
	case "small":
		s.Small = new(Number[uint16](r))
	case "signed":
		s.Signed = Number[int32](r)
	case "big":
		s.Big = Number[uint64](r)
	case "inside":
		Struct(r, &s.Inside, partField)
	case "part":
		Part(r, &s.Part, partField)
	case "parts":
		List(r, &s.Parts, partField)
	case "words":
		r.Strings(&s.Words)
	case "more":
		r.Strings(&s.More)
	case "kinds":
		Words(r, &s.Kinds)
	case "numbers":
		Numbers(r, &s.Numbers)
	case "names":
		r.StringMap(&s.Names)
	default:
		r.GiveUp()
	}
}

func read(text string) (*sample, bool) {
	r, s := New([]byte(text)), new(sample)
	Struct(r, s, sampleField)
	return s, r.Done()
}

const whole = `{"text":"a","kind":"b","yes":true,"small":65535,"signed":-2147483648,"big":18446744073709551615,
	"inside":{"name":"c","size":1},"part":{},"parts":[{"size":-10},{"name":"d"},{"size":9223372036854775807}],
	"words":["e","","f"],"more":["g"],"kinds":["h","i"],"numbers":[0,4294967295],"names":{"j":"k","":"l"}}`

// taken are texts that need not be left to encoding/json.
var taken = []string{
	whole, `{}`, " \t\r\n{ \"yes\" : false , \"words\" : [ ] , \"parts\" : [ { } ] , \"names\" : { } }\n",
	`{"text":"\u0026 \"\\\/\b\f\n\r\t \ud83d\ude00 \ud83d ü","words":["\u003c"],"\u0079es":true}`,
	"{\"text\":\"\xff\xed\xa0\x80\u2028\",\"names\":{\"ü\":\"\"}}",
	`{"text":"a","text":"b","yes":true,"yes":false,"small":1,"small":2,"inside":{"name":"a"},"inside":{"size":1}}`,
	`{"names":{"a":"b","a":"c"}}`,
}

// leftOver are not, and some of them are not JSON.
var leftOver = []string{
	``, ` `, `null`, `[]`, `"a"`, `1`, `{"text":null}`, `{"other":1}`, `{"Text":"a"}`, `{"text":1}`, `{"text":["a"]}`, `{"yes":"true"}`,
	`{"yes":1}`, `{"yes":truer}`, `{"yes":tru}`, `{"small":65536}`, `{"small":-1}`, `{"signed":-0}`, `{"signed":2147483648}`, `{"signed":-2147483649}`,
	`{"big":18446744073709551616}`, `{"big":-1}`, `{"big":1.5}`, `{"big":1.0}`, `{"big":1e3}`, `{"big":01}`, `{"big":+1}`,
	`{"big":}`, `{"big":-}`, `{"big":"1"}`, `{"big":1_0}`, `{"inside":[]}`, `{"part":null}`, `{"part":{},"part":{}}`, `{"parts":{}}`,
	`{"parts":[{}],"parts":[]}`, `{"words":["a"],"words":["b"]}`, `{"words":[1]}`, `{"words":["a",]}`, `{"words":[,"a"]}`,
	`{"words":["a" "b"]}`, `{"kinds":[],"kinds":[]}`, `{"numbers":[],"numbers":[]}`, `{"names":{},"names":{}}`, `{"names":{"a":1}}`,
	`{"text":"a",}`, `{,"text":"a"}`, `{"text":"a"}}`, `{"text":"a"} {}`, `{"text" "a"}`, `{"text":"a" "yes":true}`, `{text:"a"}`,
	`{'text':"a"}`, `{"text":"\x"}`, `{"text":"\u00g0"}`, `{"text":"\`, `{"text":"\"}`, "{\"text\":\"a\nb\"}", "{\"text\":\"\x00\"}",
	"\ufeff{}", "{\"yes\":\u00a0true}", "{}\x00", `{"words":["a"}`, `{"parts":[{]}`,
}

func TestReader(t *testing.T) {
	for _, text := range taken {
		got, ok := read(text)
		want := new(sample)
		if err := json.Unmarshal([]byte(text), want); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as\n%+v, %v, want\n%+v", text, got, ok, want)
		}
	}
	for _, text := range leftOver {
		if got, ok := read(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	for n := range len(whole) {
		if got, ok := read(whole[:n]); ok {
			t.Errorf("%q is read as %+v", whole[:n], got)
		}
	}
}

// Lists that share their memory do not share it with what is appended to one of them.
func TestStringsAreApart(t *testing.T) {
	s, _ := read(`{"words":["a"],"more":["b"]}`)
	s.Words = append(s.Words, "c")
	if s.More[0] != "b" {
		t.Errorf("appended to one list, the other is %q", s.More)
	}
}

func FuzzReader(f *testing.F) {
	for _, text := range append(taken, leftOver...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := read(text)
		if !ok {
			return
		}
		want := new(sample)
		if err := json.Unmarshal([]byte(text), want); err != nil {
			t.Fatalf("%q is read, and encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as\n%+v, want\n%+v", text, got, want)
		}
	})
}
