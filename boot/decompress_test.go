package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// The payload files in testdata hold plainPayload, compressed by the tools and options of the kernel's build:
//
//	gzip -n -9; bzip2 -9; xz --format=lzma -9; xz --check=crc32 --x86 --lzma2=dict=32MiB; lz4 -l -9 - -; zstd -22 --ultra
//
// It is calls from many places to one, as in machine code, so that xz's x86 filter has changed nearly all of it.
func plainPayload() []byte {
	var b []byte
	for i := range 1500 {
		b = append(b, 0xe8)
		b = le.AppendUint32(b, uint32(0x9000-len(b)-4))
		b = append(b, 0x48, 0x89, byte(i))
	}
	return append(b, strings.Repeat("tandem ", 500)...)
}

// compression is a payload as a kernel has it: the compressed stream and, but for gzip, the size behind it.
type compression struct {
	name    string
	stream  []byte
	ownSize bool
	checked bool // the format has a checksum
}

func compressions(t testing.TB) []compression {
	list := []compression{
		{name: "gzip", ownSize: true, checked: true},
		{name: "bzip2", checked: true},
		{name: "lzma"},
		{name: "xz", checked: true},
		{name: "lz4"},
		{name: "zstd", checked: true},
	}
	suffixes := map[string]string{"gzip": "gz", "bzip2": "bz2", "lzma": "lzma", "xz": "xz", "lz4": "lz4", "zstd": "zst"}
	for i := range list {
		var err error
		if list[i].stream, err = os.ReadFile("testdata/payload." + suffixes[list[i].name]); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// payload appends the size, or changes the one in the stream.
func (c compression) payload(size int) []byte {
	if c.ownSize {
		p := bytes.Clone(c.stream)
		le.PutUint32(p[len(p)-4:], uint32(size))
		return p
	}
	return le.AppendUint32(bytes.Clone(c.stream), uint32(size))
}

func TestDecompress(t *testing.T) {
	want := plainPayload()
	for _, c := range compressions(t) {
		t.Run(c.name, func(t *testing.T) {
			k := open(t, bzFile{payload: c.payload(len(want))}.bytes())
			if name, err := k.Compression(); name != c.name || err != nil {
				t.Errorf("Compression() = %s, %v", name, err)
			}
			var got bytes.Buffer
			if err := k.Decompress(&got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("unpacks to %d bytes, which differ from the %d that were packed", got.Len(), len(want))
			}
		})
	}
}

// TestDecompressLies has payloads that say another size than they unpack to.
func TestDecompressLies(t *testing.T) {
	size := len(plainPayload())
	for _, c := range compressions(t) {
		for _, says := range []int{1, size - 1, size + 1, maxUnpacked, maxUnpacked + 1, 1<<32 - 1, 0} {
			t.Run(fmt.Sprintf("%s says %d", c.name, says), func(t *testing.T) {
				var got bytes.Buffer
				err := open(t, bzFile{payload: c.payload(says)}.bytes()).Decompress(&got)
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("error %v, want ErrCorrupt", err)
				}
				if got.Len() > says {
					t.Errorf("%d bytes written, the payload says %d", got.Len(), says)
				}
			})
		}
	}
}

func TestDecompressDamaged(t *testing.T) {
	size := len(plainPayload())
	for _, c := range compressions(t) {
		for _, keep := range []int{0, 3, len(c.stream) / 2, len(c.stream) - 5} {
			t.Run(fmt.Sprintf("%s cut at %d", c.name, keep), func(t *testing.T) {
				short := c
				short.stream, short.ownSize = c.stream[:keep], false
				k := open(t, bzFile{payload: short.payload(size)}.bytes())
				if err := k.Decompress(io.Discard); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrCompression) {
					t.Errorf("error %v, want ErrCorrupt or, without magic, ErrCompression", err)
				}
			})
		}
		if !c.checked {
			continue
		}
		for at := 16; at < len(c.stream)-16; at += len(c.stream) / 16 {
			t.Run(fmt.Sprintf("%s bit flipped at %d", c.name, at), func(t *testing.T) {
				bad := c
				bad.stream = bytes.Clone(c.stream)
				bad.stream[at] ^= 0x10
				k := open(t, bzFile{payload: bad.payload(size)}.bytes())
				if err := k.Decompress(io.Discard); !errors.Is(err, ErrCorrupt) {
					t.Errorf("error %v, want ErrCorrupt", err)
				}
			})
		}
	}
}

// TestDecompressDictionary has streams that ask for more history than any kernel needs.
func TestDecompressDictionary(t *testing.T) {
	for _, c := range compressions(t) {
		bad := c
		bad.stream = bytes.Clone(c.stream)
		switch c.name {
		case "lzma":
			le.PutUint32(bad.stream[1:], maxDictionary<<1)
			bad.stream[1], bad.stream[2] = 0, 0
		case "zstd":
			bad.stream[5] += 8 // the window's exponent
		default:
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			k := open(t, bzFile{payload: bad.payload(len(plainPayload()))}.bytes())
			if err := k.Decompress(io.Discard); !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v, want ErrCorrupt", err)
			}
		})
	}
}

func TestDecompressUnknown(t *testing.T) {
	for name, payload := range map[string]string{"lzo": "\x89LZO\x00\r\n\x1a\n....", "other": "not compressed at all"} {
		k := open(t, bzFile{payload: []byte(payload)}.bytes())
		if err := k.Decompress(io.Discard); !errors.Is(err, ErrCompression) {
			t.Errorf("%s: error %v, want ErrCompression", name, err)
		}
		if _, err := Unpack(k, t.TempDir()); !errors.Is(err, ErrCompression) {
			t.Errorf("%s: Unpack's error %v, want ErrCompression", name, err)
		}
	}
	if err := open(t, vmlinux().bytes()).Decompress(io.Discard); !errors.Is(err, ErrFormat) {
		t.Errorf("an ELF kernel: error %v, want ErrFormat", err)
	}
}

// TestDecompressWriteError keeps the writer's error apart from the payload's.
func TestDecompressWriteError(t *testing.T) {
	for _, c := range compressions(t) {
		r, w := io.Pipe()
		r.Close()
		err := open(t, bzFile{payload: c.payload(len(plainPayload()))}.bytes()).Decompress(w)
		if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v, want io.ErrClosedPipe alone", c.name, err)
		}
	}
}

func fuzzCodec(f *testing.F, name string) {
	var c *codec
	for i := range codecs {
		if codecs[i].name == name {
			c = &codecs[i]
		}
	}
	for _, seed := range compressions(f) {
		if seed.name == name {
			f.Add(seed.stream, uint32(len(plainPayload())))
			f.Add(seed.stream[:len(seed.stream)/2], uint32(1))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, says uint32) {
		says %= 1 << 20
		var got countingWriter
		err := c.unpack(&got, bytes.NewReader(stream), int64(says))
		if int64(got) > int64(says) {
			t.Errorf("%d bytes written, at most %d allowed", got, says)
		}
		if err == nil && int64(got) != int64(says) {
			t.Errorf("%d bytes of %d written, and no error", got, says)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v is not ErrCorrupt", err)
		}
	})
}

type countingWriter int64

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

func FuzzGzip(f *testing.F)  { fuzzCodec(f, "gzip") }
func FuzzBzip2(f *testing.F) { fuzzCodec(f, "bzip2") }
func FuzzLZMA(f *testing.F)  { fuzzCodec(f, "lzma") }
func FuzzXZ(f *testing.F)    { fuzzCodec(f, "xz") }
func FuzzLZ4(f *testing.F)   { fuzzCodec(f, "lz4") }
func FuzzZstd(f *testing.F)  { fuzzCodec(f, "zstd") }
