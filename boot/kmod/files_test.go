package kmod

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// pack compresses as the suffix says.
func pack(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var (
		b   bytes.Buffer
		w   io.WriteCloser
		err error
	)
	switch suffix {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz": // as scripts/Makefile.modinst calls xz
		w, err = xz.WriterConfig{DictCap: 2 << 20, CheckSum: xz.CRC32}.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadModule(t *testing.T) {
	want := module("name=a")
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		data := want
		if suffix != "" {
			data = pack(t, suffix, want)
		}
		path := "kernel/a.ko" + suffix
		tr := open(t, map[string]string{"modules.dep": path + ":\n", path: string(data)})
		m := tr.Modules()[0]
		if m.Plain() != "kernel/a.ko" {
			t.Errorf("%s: Plain() = %q", path, m.Plain())
		}
		got, err := tr.ReadModule(m)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", path, len(got), err, len(want))
		}
		if suffix == "" {
			continue
		}
		for what, bad := range map[string][]byte{"cut": data[:len(data)-5], "empty": nil, "foreign": []byte("this is no archive at all, as one can see")} {
			if err := os.WriteFile(filepath.Join(tr.Dir(), path), bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.ReadModule(m); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s %s: %v, want %v", what, path, err, ErrFormat)
			}
		}
	}
}

func TestReadModuleBounds(t *testing.T) {
	zeros := make([]byte, 1<<20+1)
	for _, suffix := range []string{".gz", ".xz", ".zst"} {
		bomb := pack(t, suffix, zeros)
		if _, err := decompress(bomb, suffix, 1<<20); !errors.Is(err, ErrTooLarge) {
			t.Errorf("bomb %s: %v, want %v", suffix, err, ErrTooLarge)
		}
		if out, err := decompress(bomb, suffix, 1<<20+1); err != nil || len(out) != len(zeros) {
			t.Errorf("just small enough %s: %d bytes, %v", suffix, len(out), err)
		}
	}
	// A few bytes that ask for a dictionary of 4 GiB.
	huge := pack(t, ".xz", module("name=a"))
	if at := bytes.IndexByte(huge[12:], 0x21); at < 0 {
		t.Fatal("no LZMA2 filter in the block header")
	} else {
		huge[12+at+2] = 40
	}
	tr := open(t, map[string]string{"modules.dep": "a.ko.xz:\n", "a.ko.xz": string(huge)})
	if _, err := tr.ReadModule(tr.Modules()[0]); !errors.Is(err, ErrTooLarge) {
		t.Errorf("dictionary: %v, want %v", err, ErrTooLarge)
	}
	tr = open(t, map[string]string{"modules.dep": "a.ko:\n"})
	if err := os.WriteFile(filepath.Join(tr.Dir(), "a.ko"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(tr.Dir(), "a.ko"), maxModule+1); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadModule(tr.Modules()[0]); !errors.Is(err, ErrTooLarge) {
		t.Errorf("sparse file: %v, want %v", err, ErrTooLarge)
	}
}

func TestReadModuleStaysInTheTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, module("name=a"), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := open(t, map[string]string{"modules.dep": "a.ko:\nb.ko:\n"})
	if err := os.Symlink(outside, filepath.Join(tr.Dir(), "a.ko")); err != nil {
		t.Fatal(err)
	}
	for _, m := range tr.Modules() { // b.ko is not there at all
		if data, err := tr.ReadModule(m); err == nil {
			t.Errorf("%s: read %d bytes from outside the tree", m.Path, len(data))
		} else if !strings.Contains(err.Error(), m.Name) {
			t.Errorf("%s: error does not name it: %v", m.Path, err)
		}
	}
}

func TestReadInfo(t *testing.T) {
	info, err := ReadInfo(bytes.NewReader(module("license=GPL", "", "", "name=virtio_net", "depends=virtio,net-failover", "alias=virtio:d1v*", "alias=x",
		"softdep=pre: a b post: c", "vermagic=6.1.0 SMP preempt", "parm=x:y=z")))
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "virtio_net" || strings.Join(info.Depends, " ") != "virtio net_failover" || strings.Join(info.Aliases, " ") != "virtio:d1v* x" ||
		strings.Join(info.Pre, " ") != "a b" || strings.Join(info.Post, " ") != "c" || info.VerMagic != "6.1.0 SMP preempt" {
		t.Errorf("ReadInfo = %+v", info)
	}
	good := module("name=a")
	lying := func(at int, b ...byte) []byte { c := bytes.Clone(good); copy(c[at:], b); return c }
	section := len(good) - 2*64 // .modinfo's header
	for what, data := range map[string][]byte{
		"empty":      nil,
		"text":       []byte("hello"),
		"cut":        good[:len(good)-1],
		"half":       good[:70],
		"compressed": lying(section+8, 0, 8), // SHF_COMPRESSED
		"no data":    lying(section+4, 8),    // SHT_NOBITS
		"far away":   lying(section+24, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"no section": lying(64+7+1+1, 'X'),
		"no key":     module("just words"),
		"newline":    module("alias=a\nalias b c"),
		"space":      module("depends=a b"),
	} {
		if i, err := ReadInfo(bytes.NewReader(data)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v, want %v", what, i, err, ErrFormat)
		}
	}
	if _, err := ReadInfo(bytes.NewReader(lying(section+32, 0, 0, 0, 0, 1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("4 GiB of .modinfo: %v, want %v", err, ErrTooLarge)
	}
}

func TestDepmod(t *testing.T) {
	dir := write(t, map[string]string{
		"kernel/a.ko":           string(module("name=a", "depends=b-x,built")),
		"kernel/sub/b-x.ko.zst": string(pack(t, ".zst", module("name=b_x", "depends=c", "alias=fs-b"))),
		"kernel/c.ko.xz":        string(pack(t, ".xz", module("name=c", "softdep=pre: d post: e", "alias=pci:v[0-9]*"))),
		"kernel/d.ko":           string(module("name=d")),
		"kernel/broken.ko":      string(module("name=broken", "depends=gone")),
		"kernel/old.ko":         string(module("name=old")),
		"updates/old.ko":        string(module("name=old", "depends=d")),
		"kernel/README":         "not a module",
		"modules.builtin":       "kernel/built.ko\n",
	})
	if err := Depmod(dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"modules.dep": "kernel/a.ko: kernel/sub/b-x.ko.zst kernel/c.ko.xz\n" +
			"kernel/sub/b-x.ko.zst: kernel/c.ko.xz\n" +
			"kernel/broken.ko: gone.ko\n" +
			"kernel/c.ko.xz:\n" +
			"kernel/d.ko:\n" +
			"updates/old.ko: kernel/d.ko\n",
		"modules.alias":   "alias fs-b b_x\nalias pci:v[0-9]* c\n",
		"modules.softdep": "softdep c pre: d post: e\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || string(got) != want {
			t.Errorf("%s is\n%s(%v) want\n%s", file, got, err, want)
		}
	}
	tr, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	order, missing, err := tr.Resolve([]string{"a", "old"}, []string{"broken"})
	if err != nil || names(order) != "d c b_x a old" || strings.Join(missing, " ") != "broken" {
		t.Errorf("Resolve = %q, %q, %v", names(order), missing, err)
	}
	if _, _, err := tr.Resolve([]string{"broken"}, nil); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("broken: %v", err)
	}
}

func TestDepmodRefuses(t *testing.T) {
	fifo := write(t, nil)
	if err := unix.Mkfifo(filepath.Join(fifo, "a.ko"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Depmod(fifo); !errors.Is(err, ErrFormat) {
		t.Errorf("pipe: %v, want %v", err, ErrFormat)
	}
	for what, c := range map[string]struct {
		files map[string]string
		want  error
	}{
		"not a module": {map[string]string{"a.ko": "text"}, ErrFormat},
		"cut":          {map[string]string{"a.ko": string(module("name=a")[:100])}, ErrFormat},
		"circle":       {map[string]string{"a.ko": string(module("depends=b")), "b.ko": string(module("depends=a"))}, ErrCycle},
		"odd name":     {map[string]string{"a b.ko": string(module("name=a"))}, ErrFormat},
		"odd depends":  {map[string]string{"a.ko": string(module("depends=a\x01b"))}, ErrFormat},
	} {
		dir := write(t, c.files)
		if err := Depmod(dir); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil {
			t.Errorf("%s: there is a modules.dep", what)
		}
	}
}
