package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"tandem/internal/testenv"
)

const threeLayersTree = "bin->usr/bin etc etc/hosts=127.0.0.1 localhost opt opt/app opt/app/c=c usr usr/bin usr/bin/sh=#!"

// dockerArchive is what docker save writes, as the registry client's library writes it.
func dockerArchive(t testing.TB, images map[string]v1.Image) []byte {
	t.Helper()
	tags := map[name.Tag]v1.Image{}
	for n, img := range images {
		tag, err := name.NewTag(n)
		if err != nil {
			t.Fatal(err)
		}
		tags[tag] = img
	}
	var b bytes.Buffer
	if err := tarball.MultiWrite(tags, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImportDockerArchive(t *testing.T) {
	three, one := threeLayers(t), imageOf(t, pack(t, "a: 1"))
	archive := dockerArchive(t, map[string]v1.Image{"three:v1": three, "example.org:5000/team/one": one, "three:v2": three})
	for _, test := range []struct {
		name    string
		archive []byte
	}{{"plain", archive}, {"compressed", gzipped(t, archive)}} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			images, err := s.Import(context.Background(), bytes.NewReader(test.archive), ImportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"docker.io/library/three:v1", "docker.io/library/three:v2", "example.org:5000/team/one:latest"}
			if got := namesOf(images); !reflect.DeepEqual(got, want) {
				t.Errorf("names %q, want %q", got, want)
			}
			if got := s.tree(t, "three:v2"); got != threeLayersTree {
				t.Errorf("tree %s, want %s", got, threeLayersTree)
			}
			id, err := three.ConfigName()
			if err != nil {
				t.Fatal(err)
			}
			image, err := s.Resolve("three:v1")
			if err != nil || image.ID.String() != id.String() || image.Platform.Architecture != "amd64" || len(image.Layers) != 3 {
				t.Errorf("%+v, %v, want ID %s", image, err, id)
			}
			if image.Layers[1].CreatedBy != "step 2" || image.Layers[1].ChainID == image.Layers[1].DiffID {
				t.Errorf("layer %+v", image.Layers[1])
			}
			config, err := s.Config(id.Hex[:12])
			if err != nil || !reflect.DeepEqual(config.Config.Cmd, []string{"/bin/sh"}) {
				t.Errorf("configuration %+v, %v", config, err)
			}
			checkClean(t, s)
		})
	}
}

// TestImportOldDockerArchive has the layout of Docker before version 25: a folder a layer, and a symbolic link for one
// that an earlier image had.
func TestImportOldDockerArchive(t *testing.T) {
	bottom, top := pack(t, "a: 1"), pack(t, "b: 2")
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(bottom), digest.FromBytes(top)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id, x, y := digest.FromBytes(config).Encoded(), strings.Repeat("1", 64), strings.Repeat("2", 64)
	manifest := fmt.Sprintf(`[{"Config":"%s.json","RepoTags":["old:1"],"Layers":["%s/layer.tar","%s/layer.tar"]}]`, id, x, y)
	archive := func(manifest string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range []struct{ name, link, body string }{
			{x + "/", "", ""},
			{x + "/VERSION", "", "1.0"},
			{x + "/json", "", "{}"},
			{x + "/layer.tar", "../" + y + "/real.tar", ""},
			{y + "/real.tar", "", string(bottom)},
			{y + "/layer.tar", "", string(top)},
			{id + ".json", "", string(config)},
			{"manifest.json", "", manifest},
			{"repositories", "", "{}"},
		} {
			h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body)), Linkname: f.link}
			switch {
			case f.link != "":
				h.Typeflag = tar.TypeSymlink
			case strings.HasSuffix(f.name, "/"):
				h.Typeflag = tar.TypeDir
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, f.body); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	s := newStore(t)
	if _, err := s.Import(context.Background(), bytes.NewReader(archive(manifest)), ImportOptions{Name: "new:2"}); err != nil {
		t.Fatal(err)
	}
	if got := s.tree(t, "new:2"); got != "a=1 b=2" {
		t.Errorf("tree %s", got)
	}
	if _, err := s.Resolve("old:1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("by its old name: %v", err)
	}
	for what, broken := range map[string]string{
		"a layer that is not there": strings.Replace(manifest, y+"/layer.tar", "../../etc/passwd", 1),
		"another configuration":     strings.Replace(manifest, id+".json", y+"/layer.tar", 1),
		"no JSON":                   "[{",
		"an invalid name":           strings.Replace(manifest, "old:1", "../../OLD", 1),
		"layers in another order":   fmt.Sprintf(`[{"Config":"%s.json","Layers":["%s/layer.tar","%s/layer.tar"]}]`, id, y, x),
		"one layer less":            fmt.Sprintf(`[{"Config":"%s.json","Layers":["%s/layer.tar"]}]`, id, x),
		"nothing":                   "[]",
	} {
		if _, err := s.Import(context.Background(), bytes.NewReader(archive(broken)), ImportOptions{}); err == nil {
			t.Errorf("%s: imported", what)
		}
		checkClean(t, s)
	}
}

// writeLayout writes an OCI image layout with an index of two platforms in it.
func writeLayout(t testing.TB, dir string, annotations map[string]string, images ...v1.Image) {
	t.Helper()
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: images[0], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: images[1], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: images[1], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
	)
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index, layout.WithAnnotations(annotations)); err != nil {
		t.Fatal(err)
	}
}

func TestImportOCI(t *testing.T) {
	amd, arm := threeLayers(t), imageOf(t, pack(t, "arm: 64"))
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, dir, map[string]string{ocispec.AnnotationRefName: "latest", containerdName: "example.org/a/b:c"}, amd, arm)
	archive, err := exec.Command("tar", "-C", dir, "-c", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"folder", "archive"} {
		t.Run(from, func(t *testing.T) {
			s := newStore(t)
			get := func(o ImportOptions) ([]Image, error) {
				if from == "folder" {
					return s.ImportPath(context.Background(), dir, o)
				}
				return s.Import(context.Background(), bytes.NewReader(archive), o)
			}
			images, err := get(ImportOptions{Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}})
			if err != nil {
				t.Fatal(err)
			}
			if len(images) != 1 || images[0].Digest.String() != digestOf(t, amd) || images[0].Names[0] != "example.org/a/b:c" || images[0].Source == "" {
				t.Errorf("%+v", images)
			}
			if got := s.tree(t, "example.org/a/b:c"); got != threeLayersTree {
				t.Errorf("tree %s", got)
			}
			if _, err := s.Resolve("example.org/a/b@" + images[0].Source.String()); err != nil {
				t.Errorf("by the digest of the index: %v", err)
			}
			images, err = get(ImportOptions{Name: "arm", Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"}})
			if err != nil || len(images) != 1 || images[0].Digest.String() != digestOf(t, arm) {
				t.Errorf("for arm64: %+v, %v", images, err)
			}
			_, err = get(ImportOptions{Platform: &ocispec.Platform{OS: "linux", Architecture: "riscv64"}})
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "linux/amd64, linux/arm64/v8") || strings.Contains(err.Error(), "unknown") {
				t.Errorf("for riscv64: %v", err)
			}
			if r, err := s.Prune(false); err != nil || len(r.Images) != 0 {
				t.Errorf("pruned %+v, %v", r, err)
			}
			checkClean(t, s)
		})
	}
	t.Run("no layout", func(t *testing.T) {
		if _, err := newStore(t).ImportPath(context.Background(), t.TempDir(), ImportOptions{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%v", err)
		}
	})
}

// bzip2Archive is the archive of one file, "hello" with "world\n" in it; the standard library does not write bzip2.
const bzip2Archive = "" +
	"425a6839314159265359c0de9ccb000039fb90c910004040007780000866449e8004000008200054351b54c80d0f283d47a8" +
	"124a6d4c8d0680681539b9e3f222029be2c565468a0647162ce0949816cf46442637426a319b145a352a433bb2bdc104763c" +
	"9b2c1111f6d297e2ee48a70a12181bd39960"

func TestImportRootFS(t *testing.T) {
	plain := pack(t, "etc/", "etc/os-release: ID=test", "bin -> usr/bin", "usr/bin/sh: #!")
	const tree = "bin->usr/bin etc etc/os-release=ID=test usr usr/bin usr/bin/sh=#!"
	compress := func(w io.WriteCloser, err error) func(b *bytes.Buffer) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	var zst, x, l bytes.Buffer
	zw, err := zstd.NewWriter(&zst)
	compress(zw, err)
	xw, err := xz.NewWriter(&x)
	compress(xw, err)
	compress(lz4.NewWriter(&l), nil)
	bz, err := hex.DecodeString(bzip2Archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, mediaType string
		archive         []byte
		tree            string
	}{
		{"none", ocispec.MediaTypeImageLayerZstd, plain, tree},
		{"gzip", ocispec.MediaTypeImageLayerGzip, gzipped(t, plain), tree},
		{"zstd", ocispec.MediaTypeImageLayerZstd, zst.Bytes(), tree},
		{"xz", ocispec.MediaTypeImageLayerZstd, x.Bytes(), tree},
		{"lz4", ocispec.MediaTypeImageLayerZstd, l.Bytes(), tree},
		{"bzip2", ocispec.MediaTypeImageLayerZstd, bz, "hello=world\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			path := filepath.Join(t.TempDir(), "rootfs")
			if err := os.WriteFile(path, test.archive, 0o600); err != nil {
				t.Fatal(err)
			}
			var told []int64
			o := ImportOptions{Name: "my/rootfs:1", Config: ocispec.ImageConfig{Cmd: []string{"sh"}}, Progress: func(_ string, done, total int64) {
				if total > 0 {
					told = append(told, done*100/total)
				}
			}}
			images, err := s.ImportPath(context.Background(), path, o)
			if err != nil {
				t.Fatal(err)
			}
			if l := images[0].Layers; len(l) != 1 || l[0].MediaType != test.mediaType || test.tree == tree && l[0].DiffID != digest.FromBytes(plain) {
				t.Errorf("layers %+v", l)
			}
			if images[0].Platform.OS != "linux" || images[0].Platform.Architecture == "" {
				t.Errorf("platform %+v", images[0].Platform)
			}
			if got := s.tree(t, "my/rootfs:1"); got != test.tree {
				t.Errorf("tree %q, want %q", got, test.tree)
			}
			config, err := s.Config("my/rootfs:1")
			if err != nil || !reflect.DeepEqual(config.Config.Cmd, []string{"sh"}) || !strings.Contains(config.History[0].Comment, path) {
				t.Errorf("configuration %+v, %v", config, err)
			}
			if len(told) < 2 || told[0] != 0 || told[len(told)-1] != 100 {
				t.Errorf("progress %v", told)
			}
			again, err := s.ImportPath(context.Background(), path, o)
			if err != nil || again[0].Digest != images[0].Digest {
				t.Errorf("again: %v, %v, want %v", again, err, images[0].Digest)
			}
			checkClean(t, s)
		})
	}
}

// TestImportBusybox makes an image that runs.
func TestImportBusybox(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Busybox)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(binary)), ModTime: noon}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(binary); err != nil {
		t.Fatal(err)
	}
	for _, applet := range []string{"sh", "cat", "ls"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + applet, Linkname: "bin/busybox", ModTime: noon}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	if _, err := s.Import(context.Background(), &b, ImportOptions{Name: "busybox"}); err != nil {
		t.Fatal(err)
	}
	lower, _, err := s.Layers(context.Background(), "busybox", nil)
	if err != nil {
		t.Fatal(err)
	}
	inOverlay(t, lower, func(root string) error {
		out, err := runIn(root, "/bin/sh", "-c", "ls / /bin")
		if want := "/:\nbin\n\n/bin:\nbusybox\ncat\nls\nsh\n"; err != nil || out != want {
			t.Errorf("in the image: %q, %v, want %q", out, err, want)
		}
		return nil
	})
}

func TestImportOfOtherThings(t *testing.T) {
	for what, data := range map[string][]byte{
		"nothing":                    nil,
		"text":                       []byte(strings.Repeat("hello world\n", 100)),
		"a compressed text":          gzipped(t, []byte(strings.Repeat("hello world\n", 100))),
		"broken compression":         []byte("\x1f\x8b\x08\x00 and then nothing of it"),
		"half a compressed archive":  gzipped(t, pack(t, "a: "+strings.Repeat("x", 10000)))[:60],
		"half an archive":            pack(t, "a: "+strings.Repeat("x", 10000))[:5000],
		"an index without manifests": pack(t, "oci-layout: {}", `index.json: {"schemaVersion":2,"manifests":[]}`),
		"an index of another type":   pack(t, "oci-layout: {}", `index.json: {"schemaVersion":2,"mediaType":"a/b","manifests":[]}`),
		"images, but no table":       pack(t, "blobs/sha256/"+digest.FromString("x").Encoded()+": x"),
		"a blob that is another":     pack(t, "blobs/sha256/"+digest.FromString("x").Encoded()+": y", "index.json: {}"),
		"a name twice":               pack(t, "oci-layout: {}", "index.json: {}", "index.json: {}"),
		"a table that is too large":  pack(t, "manifest.json: "+strings.Repeat(" ", maxDocument+1)),
		"a hash that is none":        pack(t, "blobs/md5/00: x"),
	} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t)
			if images, err := s.Import(context.Background(), bytes.NewReader(data), ImportOptions{Name: "x"}); err == nil {
				t.Errorf("imported as %+v", images)
			}
			checkClean(t, s)
			if u, _ := s.Usage(); u != (Usage{}) {
				t.Errorf("left %+v", u)
			}
		})
	}
}

// TestKindCanBeSaid imports the files of a web server, which look like an archive of images.
func TestKindCanBeSaid(t *testing.T) {
	s := newStore(t)
	archive := pack(t, "manifest.json: {}", "index.html: <p>")
	if _, err := s.Import(context.Background(), bytes.NewReader(archive), ImportOptions{}); !errors.Is(err, ErrFormat) {
		t.Errorf("as it looks: %v", err)
	}
	if _, err := s.Import(context.Background(), bytes.NewReader(archive), ImportOptions{Name: "web", Kind: RootFS}); err != nil {
		t.Fatal(err)
	}
	if got := s.tree(t, "web"); got != "index.html=<p> manifest.json={}" {
		t.Errorf("tree %s", got)
	}
}

// TestLongNamesInArchive has an archive of many names, each as long as a header takes, which would be held in memory.
func TestLongNamesInArchive(t *testing.T) {
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeSymlink, Name: strings.Repeat("n", 5000), Linkname: "x"},
		{Typeflag: tar.TypeSymlink, Name: "x", Linkname: strings.Repeat("n", 5000)},
		{Typeflag: tar.TypeLink, Name: "x", Linkname: strings.Repeat("n/", 5000)},
		{Typeflag: tar.TypeReg, Name: strings.Repeat("n", 5000)},
	} {
		s := newStore(t)
		_, err := s.Import(context.Background(), bytes.NewReader(packHeader(t, h)), ImportOptions{Kind: DockerArchive})
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d and %d bytes: %v, want %v", len(h.Name), len(h.Linkname), err, ErrTooLarge)
		}
		checkClean(t, s)
	}
}
