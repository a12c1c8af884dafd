package box

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	long := bytes.Repeat([]byte("0123456789"), maxFrame/4)
	if err := writeFrames(&b, frameStdout, long); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		kind, payload, err := readFrame(&b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || kind != frameStdout {
			t.Fatalf("readFrame = %c, %v", kind, err)
		}
		got = append(got, payload...)
	}
	if !bytes.Equal(got, long) {
		t.Errorf("%d bytes came, of %d", len(got), len(long))
	}
	for _, bad := range []string{"i", "i\x00\x00\x00\x02x", "i\xff\xff\xff\xff"} {
		if _, _, err := readFrame(bytes.NewReader([]byte(bad))); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, errFrame) {
			t.Errorf("readFrame(%q): %v", bad, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, frameInput, []byte("typed\n")))
	f.Add(appendFrame(appendFrame(nil, frameSize, []byte{0, 24, 0, 80}), frameEnd, []byte(`{"status":1}`)))
	f.Add([]byte("i\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		var again []byte
		for {
			kind, payload, err := readFrame(r)
			if err != nil {
				break
			}
			again = appendFrame(again, kind, payload)
		}
		if !bytes.HasPrefix(text, again) {
			t.Errorf("%q was read as %q", text, again)
		}
	})
}
