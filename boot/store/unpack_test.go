package store

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what dpkg records
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

func unpackTar(t testing.TB, data []byte, sums map[string]string) (dir string, release string, err error) {
	t.Helper()
	outer := t.TempDir()
	dir = filepath.Join(outer, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := newUnpacker(root)
	u.maxFiles, u.maxFile, u.maxUnpacked = 20, 1000, 2000
	if err = u.tar(bytes.NewReader(data), sums, quiet(nil)); err == nil {
		release, err = u.finish()
	}
	// Whatever it was, nothing came to lie outside, and what lies inside is files and folders.
	werr := filepath.WalkDir(outer, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (!d.Type().IsRegular() || !strings.HasPrefix(p, dir+"/")) {
			t.Errorf("%s: %v, left by an archive", p, d.Type())
		}
		return err
	})
	if werr != nil {
		t.Fatal(werr)
	}
	return dir, release, err
}

var (
	image   = tarEntry{tar.Header{Name: "./boot/vmlinuz-1.2.3"}, "image"}
	order   = tarEntry{tar.Header{Name: "./lib/modules/1.2.3/modules.order"}, "kernel/a.ko\n"}
	folders = tarEntry{tar.Header{Name: "./lib/modules/1.2.3/", Typeflag: tar.TypeDir}, ""}
)

func TestUnpackTar(t *testing.T) {
	dir, release, err := unpackTar(t, tarOf(
		t, folders, image, order,
		tarEntry{tar.Header{Name: "./lib/modules/1.2.3/build", Typeflag: tar.TypeSymlink, Linkname: "/usr/src/linux-headers-1.2.3"}, ""},
		tarEntry{tar.Header{Name: "./usr/share/doc/x", Typeflag: tar.TypeSymlink, Linkname: "../../../../etc/passwd"}, ""},
		tarEntry{tar.Header{Name: "./usr/lib/modules/1.2.3/kernel/b.ko"}, "b"},
		tarEntry{tar.Header{Name: "./boot/grub/vmlinuz-x"}, "not at its place"},
		tarEntry{tar.Header{Name: "./lib/modules/stray"}, "of no kernel"},
	), map[string]string{"boot/vmlinuz-1.2.3": md5Of("image")})
	if err != nil || release != "1.2.3" {
		t.Fatalf("release %q, %v; want 1.2.3", release, err)
	}
	var got []string
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, rerr := os.ReadFile(p)
			got, err = append(got, strings.TrimPrefix(p, dir+"/")+"="+string(data)), rerr
		}
		return err
	})
	want := []string{"modules/lib/modules/1.2.3/kernel/b.ko=b", "modules/lib/modules/1.2.3/modules.order=kernel/a.ko\n", "vmlinuz=image"}
	if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("unpacked %q, %v; want %q", got, err, want)
	}
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

func TestUnpackTarRefuses(t *testing.T) {
	const dir = "./lib/modules/1.2.3/"
	file := func(name, body string) tarEntry { return tarEntry{tar.Header{Name: name}, body} }
	good := tarOf(t, image, order)
	many := []tarEntry{image}
	for range 30 {
		many = append(many, folders)
	}
	for _, c := range []struct {
		what string
		data []byte
		sums map[string]string
		want error
		says string
	}{
		{"empty", tarOf(t), nil, ErrPackage, "vmlinuz"},
		{"no image", tarOf(t, order), nil, ErrPackage, "vmlinuz"},
		{"text", bytes.Repeat([]byte("not a tar "), 200), nil, ErrPackage, ""},
		{"cut in a header", good[:300], nil, ErrPackage, ""},
		{"cut in a body", tarOf(t, tarEntry{tar.Header{Name: "./boot/vmlinuz-1.2.3", Size: 600}, "image"}), nil, nil, "unexpected EOF"},
		{"leads out", tarOf(t, file("../../etc/cron.d/x", "x")), nil, ErrPackage, "leads out"},
		{"leads out behind a good start", tarOf(t, file("./lib/modules/1.2.3/../../../../x", "x")), nil, ErrPackage, "leads out"},
		{"absolute", tarOf(t, file("/lib/modules/1.2.3/modules.order", "x")), nil, ErrPackage, "leads out"},
		{"unclean", tarOf(t, file("./lib//modules/1.2.3/modules.order", "x")), nil, ErrPackage, "leads out"},
		{"link to a file", tarOf(t, tarEntry{tar.Header{Name: dir + "a.ko", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""}), nil, ErrPackage, "/etc/passwd"},
		{
			"file behind a link to a folder",
			tarOf(t, tarEntry{tar.Header{Name: dir + "kernel", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, ""}, file(dir+"kernel/a.ko", "x")),
			nil, ErrPackage, "/tmp",
		},
		{"file behind the link that is passed over", tarOf(t, image, tarEntry{tar.Header{Name: dir + "build", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, ""},
			file(dir+"build", "x"), file(dir+"build/x", "x")), nil, nil, "build"},
		{"hard link", tarOf(t, tarEntry{tar.Header{Name: dir + "a.ko", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}, ""}), nil, ErrPackage, "/etc/shadow"},
		{"device", tarOf(t, tarEntry{tar.Header{Name: "./boot/vmlinuz-1.2.3", Typeflag: tar.TypeChar, Devmajor: 1}, ""}), nil, ErrPackage, "regular"},
		{"twice", tarOf(t, image, order, order), nil, ErrPackage, "twice"},
		{"two images", tarOf(t, image, file("./boot/vmlinuz-1.2.4", "x")), nil, ErrPackage, "1.2.4"},
		{"modules of another", tarOf(t, image, file("./lib/modules/1.2.4/modules.order", "x")), nil, ErrPackage, "1.2.4"},
		{"modules of two", tarOf(t, image, order, file("./lib/modules/1.2.4/modules.order", "x")), nil, ErrPackage, "1.2.4"},
		{"release that leads out", tarOf(t, image, file("./lib/modules/../x", "x")), nil, ErrPackage, "leads out"},
		{"large", tarOf(t, file("./boot/vmlinuz-1.2.3", strings.Repeat("x", 1001))), nil, ErrTooLarge, "1001"},
		{"large altogether", tarOf(t, file("./boot/vmlinuz-1", strings.Repeat("x", 900)), file("./boot/config-1", strings.Repeat("x", 900)), file("./boot/System.map-1", strings.Repeat("x", 900))), nil, ErrTooLarge, "900"},
		{"a gigabyte of promise", tarOf(t, tarEntry{tar.Header{Name: "./boot/vmlinuz-1.2.3", Size: 1 << 40}, "x"}), nil, ErrTooLarge, ""},
		{"many", tarOf(t, many...), nil, ErrTooLarge, "20 files"},
		{"other digest", good, map[string]string{"boot/vmlinuz-1.2.3": md5Of("other")}, ErrVerify, "vmlinuz"},
	} {
		_, release, err := unpackTar(t, c.data, c.sums)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v; want %v with %q", c.what, release, err, c.want, c.says)
		}
	}
}

func TestUnpackDebRefuses(t *testing.T) {
	testenv.Need(t, testenv.APT)
	dir := t.TempDir()
	good := filepath.Join(dir, "good.deb")
	control := "Package: linux-image-1.2.3\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: test\n"
	big := strings.Repeat("A page of a kernel's image is not always easy to compress. ", 20000)
	buildDeb(t, good, control, map[string]string{"boot/vmlinuz-1.2.3": big})
	sums := filepath.Join(dir, "sums.deb")
	buildDeb(t, sums, control, map[string]string{"boot/vmlinuz-1.2.3": "image", "DEBIAN/md5sums": md5Of("other") + "  boot/vmlinuz-1.2.3\n"})
	odd := filepath.Join(dir, "odd.deb")
	buildDeb(t, odd, control, map[string]string{"boot/vmlinuz-1.2.3": "image", "DEBIAN/md5sums": "no digest\n"})
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	flipped := bytes.Clone(data)
	flipped[len(flipped)-100] ^= 0xff
	for file, want := range map[string]error{
		write("cut.deb", data[:len(data)-500]):  ErrPackage,
		write("head.deb", data[:70]):            ErrPackage,
		write("flip.deb", flipped):              ErrPackage,
		write("text.deb", []byte("!<arch>\nx")): ErrPackage,
		sums:                                    ErrVerify,
		odd:                                     ErrPackage,
		filepath.Join(dir, "nosuch.deb"):        ErrPackage,
	} {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := newUnpacker(root).deb(context.Background(), file, quiet(nil)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", filepath.Base(file), err, want)
		}
		if err := root.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// dpkg-deb does not outlive an archive that was refused half way.
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := newUnpacker(root)
	u.maxFile = 10
	if err := u.deb(context.Background(), good, quiet(nil)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("bomb: %v, want %v", err, ErrTooLarge)
	}
	running, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(running) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, p := range running {
		if words, err := os.ReadFile(p); err == nil && bytes.Contains(words, []byte(good)) {
			t.Errorf("still running: %s: %q", p, words)
		}
	}
}

// TestHolesInSums has a list of digests that is a hole, longer than what is read into memory.
func TestHolesInSums(t *testing.T) {
	testenv.Need(t, testenv.APT)
	dir := t.TempDir()
	sums := filepath.Join(dir, "md5sums")
	if err := errors.Join(os.WriteFile(sums, nil, 0o644), os.Truncate(sums, maxSums+1)); err != nil {
		t.Fatal(err)
	}
	control, err := exec.Command("tar", "--format=posix", "--sparse", "-C", dir, "-c", "./md5sums").Output()
	if err != nil || len(control) > 1<<20 {
		t.Fatalf("%d bytes, %v", len(control), err)
	}
	var deb bytes.Buffer
	deb.WriteString("!<arch>\n") // ar(5)
	for _, member := range []struct{ name, data string }{
		{"debian-binary", "2.0\n"}, {"control.tar", string(control)}, {"data.tar", string(tarOf(t))},
	} {
		fmt.Fprintf(&deb, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", member.name, 0, 0, 0, 0o100644, len(member.data), member.data)
	}
	file := filepath.Join(dir, "holes.deb")
	if err := os.WriteFile(file, deb.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := debSums(context.Background(), file); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want %v", err, ErrTooLarge)
	}
}

func FuzzUnpackTar(f *testing.F) {
	f.Add(tarOf(f, folders, image, order))
	f.Add(tarOf(f, image, tarEntry{tar.Header{Name: "./lib/modules/1.2.3/build", Typeflag: tar.TypeSymlink, Linkname: "/"}, ""}))
	f.Add(tarOf(f, tarEntry{tar.Header{Name: "../../x"}, "x"}))
	f.Add(tarOf(f, tarEntry{tar.Header{Name: "./lib/modules/1.2.3/x", Typeflag: tar.TypeLink, Linkname: "../../../../x"}, ""}))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, release, err := unpackTar(t, data, nil)
		if err != nil {
			return
		}
		if _, err := os.Stat(filepath.Join(dir, imageFile)); err != nil || release == "" {
			t.Fatalf("release %q without an image: %v", release, err)
		}
	})
}

func FuzzParseStanza(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\nDepends: b (= 1) | c\nSize: 1\nSHA256: 00\n\nPackage: b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseStanza(data)
		if err == nil && (s.name == "" || s.version == "" || s.size < 0) {
			t.Fatalf("%+v", s)
		}
	})
}
