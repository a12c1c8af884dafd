package compress

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// helloBzip2 is "hello world\n"; the standard library reads bzip2 and does not write it.
const helloBzip2 = "425a68393141592653594eece83600000251800010400006449080200031064c4101a7a9a580bb9431f8bb9229c28482776741b0"

// packed compresses data in each way that there is a writer for.
func packed(t testing.TB, data []byte) map[Format][]byte {
	t.Helper()
	all := map[Format][]byte{None: data}
	for format, open := range map[Format]func(w io.Writer) (io.WriteCloser, error){
		Gzip: func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		Zstd: func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		XZ:   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		LZ4:  func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil },
	} {
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		all[format] = b.Bytes()
	}
	return all
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b) // it does not fail
	return b
}

func TestEachFormat(t *testing.T) {
	for what, data := range map[string][]byte{
		"nothing": nil, "text": []byte(strings.Repeat("hello world\n", 1000)), "noise": noise(300_000),
	} {
		for format, blob := range packed(t, data) {
			for _, slow := range []bool{false, true} {
				var source io.Reader = bytes.NewReader(blob)
				if slow {
					source = iotest.HalfReader(iotest.DataErrReader(source))
				}
				r, got, err := NewReader(source)
				if err != nil || got != format {
					t.Fatalf("%s, %s: %s, %v", what, format, got, err)
				}
				plain, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(plain, data) {
					t.Errorf("%s, %s: %d bytes, %v, want %d", what, format, len(plain), err, len(data))
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	blob, err := hex.DecodeString(helloBzip2)
	if err != nil {
		t.Fatal(err)
	}
	r, format, err := NewReader(bytes.NewReader(blob))
	if err != nil || format != Bzip2 {
		t.Fatalf("%s, %v", format, err)
	}
	defer r.Close()
	if plain, err := io.ReadAll(r); err != nil || string(plain) != "hello world\n" {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestBrokenData(t *testing.T) {
	for format, blob := range packed(t, noise(100_000)) {
		if format == None {
			continue
		}
		cut := blob[:len(blob)/2]
		spoiled := bytes.Clone(blob)
		for i := len(spoiled) / 2; i < len(spoiled)/2+50; i++ {
			spoiled[i] ^= 0x55
		}
		for what, data := range map[string][]byte{"cut": cut, "spoiled": spoiled, "the head alone": blob[:HeadSize], "trailing garbage": append(bytes.Clone(blob), "garbage!"...)} {
			r, _, err := NewReader(bytes.NewReader(data))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, %s: %v", format, what, err)
			}
		}
	}
}

// TestSourceThatFails does not take a broken disk for a broken archive.
func TestSourceThatFails(t *testing.T) {
	broken := errors.New("broken disk")
	for format, blob := range packed(t, noise(600_000)) {
		r, _, err := NewReader(io.MultiReader(bytes.NewReader(blob[:512<<10]), iotest.ErrReader(broken)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", format, err)
		}
		r.Close()
	}
	if _, _, err := NewReader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// TestMemory has streams that ask for a window of a gigabyte.
func TestMemory(t *testing.T) {
	// RFC 8878, 3.1.1.1.2: a frame of one raw block with a window of 1 GiB, exponent 20.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 1 << 30}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for format, data := range map[Format][]byte{Zstd: frame, XZ: b.Bytes()} {
		r, _, err := NewReader(bytes.NewReader(data))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "128 MiB") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// TestCloseEarly leaves no goroutine that reads; the race detector would see it read what is written here.
func TestCloseEarly(t *testing.T) {
	for format, blob := range packed(t, []byte(strings.Repeat("hello world\n", 300_000))) {
		blob := bytes.Clone(blob)
		r, _, err := NewReader(bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 10)); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		clear(blob)
	}
}

func FuzzNewReader(f *testing.F) {
	for _, blob := range packed(f, []byte("hello world\n")) {
		f.Add(blob)
	}
	blob, err := hex.DecodeString(helloBzip2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, format, err := NewReader(bytes.NewReader(data))
		if err == nil {
			_, err = io.CopyN(io.Discard, r, 1<<20)
			if e := r.Close(); e != nil {
				t.Error(e)
			}
		}
		if format != Detect(data) {
			t.Errorf("%q", format)
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v", err)
		}
	})
}
