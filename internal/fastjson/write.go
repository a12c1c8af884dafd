package fastjson

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Writer writes objects as encoding/json does, to the byte. The zero Writer is ready.
//
//	w.Begin()
//	w.String("id", "box")
//	w.Name("init")
//	w.Begin()
//	w.Int("pid", 4711)
//	w.End()
//	w.End()               {"id":"box","init":{"pid":4711}}
type Writer struct {
	text []byte
	err  error
}

// Text is what was written.
func (w *Writer) Text() ([]byte, error) { return w.text, w.err }

// Begin begins an object.
func (w *Writer) Begin() { w.text = append(w.text, '{') }

// End ends it.
func (w *Writer) End() { w.text = append(w.text, '}') }

// Name begins a member of the object, whose value comes next.
func (w *Writer) Name(name string) {
	if n := len(w.text); n > 0 && w.text[n-1] != '{' {
		w.text = append(w.text, ',')
	}
	w.string(name)
	w.text = append(w.text, ':')
}

// String writes a member that is a string.
func (w *Writer) String(name, value string) {
	w.Name(name)
	w.string(value)
}

func (w *Writer) string(s string) {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			w.value(s)
			return
		}
	}
	w.text = append(append(append(w.text, '"'), s...), '"')
}

// Int writes a member that is a number.
func (w *Writer) Int(name string, value int64) {
	w.Name(name)
	w.text = strconv.AppendInt(w.text, value, 10)
}

// Uint writes a member that is a number.
func (w *Writer) Uint(name string, value uint64) {
	w.Name(name)
	w.text = strconv.AppendUint(w.text, value, 10)
}

// Bool writes a member that is true or false.
func (w *Writer) Bool(name string, value bool) {
	w.Name(name)
	w.text = strconv.AppendBool(w.text, value)
}

// StringMap writes a member that is an object of strings.
func (w *Writer) StringMap(name string, value map[string]string) {
	w.Name(name)
	keys := make([]string, 0, len(value))
	for key := range value {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	w.Begin()
	for _, key := range keys {
		w.String(key, value[key])
	}
	w.End()
}

// Value writes a member that encoding/json knows how to write.
func (w *Writer) Value(name string, value any) {
	w.Name(name)
	w.value(value)
}

func (w *Writer) value(value any) {
	text, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.text = append(w.text, text...)
}
