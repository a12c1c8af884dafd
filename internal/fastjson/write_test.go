package fastjson

import (
	"encoding/json"
	"math"
	"testing"
)

type written struct {
	Text   string            `json:"text"`
	Inside part              `json:"inside"`
	Least  int64             `json:"least"`
	Most   uint64            `json:"most"`
	Yes    bool              `json:"yes"`
	Names  map[string]string `json:"names"`
	Empty  map[string]string `json:"empty"`
	Any    any               `json:"any"`
	Last   string            `json:"{"`
}

func (v *written) write() ([]byte, error) {
	var w Writer
	w.Begin()
	w.String("text", v.Text)
	w.Name("inside")
	w.Begin()
	w.String("name", v.Inside.Name)
	w.Int("size", v.Inside.Size)
	w.End()
	w.Int("least", v.Least)
	w.Uint("most", v.Most)
	w.Bool("yes", v.Yes)
	w.StringMap("names", v.Names)
	w.StringMap("empty", v.Empty)
	w.Value("any", v.Any)
	w.String("{", v.Last)
	w.End()
	return w.Text()
}

func checkWritten(t *testing.T, text, name, value string) {
	t.Helper()
	v := &written{
		Text: text, Inside: part{Name: value, Size: -1}, Least: math.MinInt64, Most: math.MaxUint64, Yes: true,
		Names: map[string]string{name: value, "b": text, "a": ""}, Empty: map[string]string{}, Any: []string{value}, Last: name,
	}
	got, err := v.write()
	want, _ := json.Marshal(v)
	if err != nil || string(got) != string(want) {
		t.Errorf("wrote %s, %v, want\n%s", got, err, want)
	}
}

var oddTexts = []string{
	"", "a b~", `"`, `\`, "/", "<a>&amp;", "\x00\x1f\n\r\t\b\f", "\x7f", "ü€😀", "\u2028\u2029", "\xff", "\xed\xa0\x80", "a\xc3", "{", "'",
}

func TestWriter(t *testing.T) {
	for _, text := range oddTexts {
		checkWritten(t, text, text, text)
	}
	var w Writer
	w.Value("a", make(chan int))
	w.String("b", "c")
	if text, err := w.Text(); err == nil {
		t.Errorf("a channel was written as %s", text)
	}
}

func FuzzWriter(f *testing.F) {
	for _, text := range oddTexts {
		f.Add(text, text, "a")
	}
	f.Fuzz(checkWritten)
}
