package fastjson

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Reader reads one text.
type Reader struct {
	text    string // what is read shares its bytes
	at      int
	givenUp bool
	words   []string // what the lists of strings are parts of
}

// New makes a reader of a text.
func New(text []byte) *Reader { return &Reader{text: string(text)} }

// GiveUp reads no further: from here on there is nothing but an end.
func (r *Reader) GiveUp() { r.givenUp, r.at = true, len(r.text) }

// Done tells whether the whole text was read.
func (r *Reader) Done() bool {
	r.blank()
	return !r.givenUp && r.at == len(r.text)
}

func (r *Reader) blank() {
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
		default:
			return
		}
	}
}

// peek is the next character that is not blank, or 0.
func (r *Reader) peek() byte {
	r.blank()
	if r.at == len(r.text) {
		return 0
	}
	return r.text[r.at]
}

// take goes over a character that has to come next.
func (r *Reader) take(c byte) {
	if r.peek() != c {
		r.GiveUp()
		return
	}
	r.at++
}

// first goes to the first element of what begins and ends with the given characters, and tells if there is one.
func (r *Reader) first(begin, end byte) bool {
	r.take(begin)
	if r.peek() == end {
		r.at++
		return false
	}
	return !r.givenUp
}

// next goes to the next one.
func (r *Reader) next(end byte) bool {
	if r.peek() == end {
		r.at++
		return false
	}
	r.take(',')
	return !r.givenUp
}

func (r *Reader) key() string {
	key := r.String()
	r.take(':')
	return key
}

// String reads a string.
func (r *Reader) String() string {
	s, ok := r.plain()
	if !ok && !r.givenUp {
		return r.oddString()
	}
	return s
}

// Plain reads a string that is what its text is: ASCII, and nothing escaped.
func (r *Reader) Plain() string {
	s, ok := r.plain()
	if !ok {
		r.GiveUp()
	}
	return s
}

// plain stops behind the string, or behind its first quote if it is not plain.
func (r *Reader) plain() (s string, ok bool) {
	r.take('"')
	for i := r.at; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			s = r.text[r.at:i]
			r.at = i + 1
			return s, true
		case c == '\\' || c < ' ' || c > '~':
			return "", false
		}
	}
	return "", false
}

// oddString leaves to encoding/json what the string means whose first quote was read.
func (r *Reader) oddString() (s string) {
	begin := r.at - 1
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\\':
			r.at++ // over what it escapes
		case '"':
			r.at++
			if json.Unmarshal([]byte(r.text[begin:r.at]), &s) != nil {
				r.GiveUp()
			}
			return s
		}
	}
	r.GiveUp()
	return ""
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	value := r.peek() == 't'
	word := strconv.FormatBool(value)
	if !strings.HasPrefix(r.text[r.at:], word) {
		r.GiveUp()
		return false
	}
	r.at += len(word)
	return value
}

// digits are a number's that has neither a fraction nor an exponent.
func (r *Reader) digits() (magnitude uint64, negative bool) {
	if negative = r.peek() == '-'; negative {
		r.at++
	}
	begin := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	word := r.text[begin:r.at]
	magnitude, err := strconv.ParseUint(word, 10, 64)
	if err != nil || len(word) > 1 && word[0] == '0' {
		r.GiveUp()
	}
	return magnitude, negative
}

// Integer is what a number can be read as.
type Integer interface {
	~int | ~int32 | ~int64 | ~uint | ~uint16 | ~uint32 | ~uint64
}

// Number reads a number that an N can hold.
func Number[N Integer](r *Reader) N {
	magnitude, negative := r.digits()
	n, back := N(magnitude), uint64(N(magnitude))
	if negative {
		n = -n
		back = -uint64(n)
	}
	if back != magnitude || (n < 0) != negative {
		r.GiveUp()
	}
	return n
}

// Word reads a string of a type of its own.
func Word[S ~string](r *Reader) S { return S(r.String()) }

// Struct reads an object: field is called at each value, with its key.
func Struct[T any](r *Reader, to *T, field func(*Reader, string, *T)) {
	for more := r.first('{', '}'); more; more = r.next('}') {
		key := r.key()
		field(r, key, to)
	}
}

// Part reads an object that may be missing.
func Part[T any](r *Reader, to **T, field func(*Reader, string, *T)) {
	if *to != nil {
		r.GiveUp()
		return
	}
	*to = new(T)
	Struct(r, *to, field)
}

// usual is as long as most lists are.
const usual = 8

// List reads a list of objects.
func List[E any](r *Reader, to *[]E, field func(*Reader, string, *E)) {
	if *to != nil {
		r.GiveUp()
		return
	}
	list := make([]E, 0, usual)
	for more := r.first('[', ']'); more; more = r.next(']') {
		list = append(list, *new(E))
		Struct(r, &list[len(list)-1], field)
	}
	*to = list
}

// Numbers reads a list of numbers.
func Numbers[N Integer](r *Reader, to *[]N) {
	if *to != nil {
		r.GiveUp()
		return
	}
	list := make([]N, 0, usual)
	for more := r.first('[', ']'); more; more = r.next(']') {
		list = append(list, Number[N](r))
	}
	*to = list
}

// Words reads a list of strings of a type of its own.
func Words[S ~string](r *Reader, to *[]S) {
	if *to != nil {
		r.GiveUp()
		return
	}
	list := make([]S, 0, usual)
	for more := r.first('[', ']'); more; more = r.next(']') {
		list = append(list, S(r.String()))
	}
	*to = list
}

// maxShared keeps a text of nothing but strings from taking more memory than it has to.
const maxShared = 1024

// Strings reads a list of strings. There are many in a text: they share their memory.
func (r *Reader) Strings(to *[]string) {
	if *to != nil {
		r.GiveUp()
		return
	}
	if r.words == nil {
		r.words = make([]string, 0, min(strings.Count(r.text, `"`)/2, maxShared))
	}
	begin := len(r.words)
	for more := r.first('[', ']'); more; more = r.next(']') {
		r.words = append(r.words, r.String())
	}
	*to = r.words[begin:len(r.words):len(r.words)]
}

// StringMap reads an object whose keys are anyone's.
func (r *Reader) StringMap(to *map[string]string) {
	if *to != nil {
		r.GiveUp()
		return
	}
	*to = make(map[string]string)
	for more := r.first('{', '}'); more; more = r.next('}') {
		key := r.key()
		(*to)[key] = r.String()
	}
}

// Map reads an object of objects, whose keys are anyone's.
func Map[E any](r *Reader, to *map[string]E, field func(*Reader, string, *E)) {
	if *to != nil {
		r.GiveUp()
		return
	}
	*to = make(map[string]E)
	for more := r.first('{', '}'); more; more = r.next('}') {
		var value E
		key := r.key()
		Struct(r, &value, field)
		(*to)[key] = value
	}
}
