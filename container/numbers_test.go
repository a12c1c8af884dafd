package container

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func TestParseNumbers(t *testing.T) {
	for _, test := range []struct {
		text string
		want string // the set's words, in hexadecimal
	}{
		{"", ""},
		{"\n", ""},
		{"0", "1"},
		{"0-3,7", "8f"},
		{" 0-3,7\n", "8f"},
		{"7,0-3,1", "8f"},
		{"63", "8000000000000000"},
		{"64", "0 1"},
		{"60-67", "f000000000000000 f"},
		{"1023", strings.Repeat("0 ", 15) + "8000000000000000"},
	} {
		got, err := parseNumbers(test.text, 1024)
		var words []string
		for b := got; len(b) > 0; b = b[8:] {
			words = append(words, fmt.Sprintf("%x", binary.NativeEndian.Uint64(b)))
		}
		if s := strings.Join(words, " "); err != nil || s != test.want {
			t.Errorf("parseNumbers(%q) = %s, %v, want %s", test.text, s, err, test.want)
		}
	}
	for _, text := range []string{",", "1,", "1-", "-1", "3-1", "1--2", "a", "+1", "1-2-3", "0x1", "1024", "0-99999999999999999999", "1 2", "١"} {
		if got, err := parseNumbers(text, 1024); err == nil {
			t.Errorf("parseNumbers(%q) = %v", text, got)
		}
	}
}

func FuzzNumbers(f *testing.F) {
	for _, seed := range []string{"0-3,7", "1023", "5-5,5", "", "3-1", "1024", "0-1023"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseNumbers(text, 1024)
		if err != nil || set == nil {
			return
		}
		// Written out one by one, they are the same set.
		var list []string
		for n := range len(set) * 8 {
			if set[n/8]&(1<<(n%8)) != 0 {
				list = append(list, fmt.Sprint(n))
			}
		}
		again, err := parseNumbers(strings.Join(list, ","), 1024)
		if err != nil || string(again) != string(set) || len(set) > 128 {
			t.Errorf("%q is %x, and %v is %x, %v", text, set, list, again, err)
		}
	})
}
