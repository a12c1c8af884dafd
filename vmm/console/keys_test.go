package console

import (
	"bytes"
	"testing"
)

func TestKeys(t *testing.T) {
	for _, test := range []struct {
		in, want   string
		help, left bool
	}{
		{"ls\r", "ls\r", false, false},
		{"\x03", "\x03", false, false},
		{"\x01x", "", false, true},
		{"a\x01xb", "a", false, true},
		{"\x01h1", "1", true, false},
		{"\x01a\x01\x01", "\x01\x01", false, false},
		{"\x01q2", "2", false, false},
		{"\x01", "", false, false},
	} {
		p := []byte(test.in)
		var k keys
		n, help, left := k.filter(p)
		if string(p[:n]) != test.want || help != test.help || left != test.left {
			t.Errorf("filter(%q) = %q, %v, %v, want %q, %v, %v", test.in, p[:n], help, left, test.want, test.help, test.left)
		}
	}
}

// However the input is cut, the guest reads the same.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("ls -l\r\x01h\x01a\x01x after"), uint8(3))
	f.Add([]byte("\x01\x01\x01"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		var whole keys
		want := bytes.Clone(in)
		n, help, left := whole.filter(want)
		want = want[:n]

		var pieces keys
		var got []byte
		gotHelp, gotLeft := false, false
		for rest := bytes.Clone(in); len(rest) > 0; {
			size := min(len(rest), int(cut)+1)
			n, h, l := pieces.filter(rest[:size])
			got = append(got, rest[:n]...)
			gotHelp, gotLeft = gotHelp || h, gotLeft || l
			rest = rest[size:]
		}
		if !bytes.Equal(got, want) || gotHelp != help || gotLeft != left {
			t.Errorf("in pieces of %d: %q, %v, %v; whole: %q, %v, %v", cut+1, got, gotHelp, gotLeft, want, help, left)
		}
	})
}
