package image

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	if testProcess() {
		return
	}
	testenv.Main(m)
}

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func newStore(t testing.TB, options ...Option) *Store {
	t.Helper()
	testenv.Need(t, testenv.Root)
	s, err := Open(t.TempDir(), options...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pack makes an archive of files: a name that ends with a slash is a folder, one with " -> " a symbolic link, and one
// with " = " a hard link; all else is "name: content".
func pack(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		h := &tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, ModTime: noon}
		var body string
		if name, to, ok := strings.Cut(line, " -> "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, to
		} else if name, to, ok := strings.Cut(line, " = "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeLink, name, to
		} else if name, content, ok := strings.Cut(line, ": "); ok {
			h.Name, body = name, content
			h.Size = int64(len(body))
		} else if strings.HasSuffix(line, "/") {
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, line, 0o755
		} else {
			h.Name = line
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layerOf is a layer, compressed by gzip, for the registry client's library to make images of.
func layerOf(t testing.TB, archive []byte, options ...tarball.LayerOption) v1.Layer {
	t.Helper()
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }
	l, err := tarball.LayerFromOpener(open, append([]tarball.LayerOption{tarball.WithMediaType(types.OCILayer)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// imageOf is an image of layers, made by the registry client's library and not by this package.
func imageOf(t testing.TB, archives ...[]byte) v1.Image {
	t.Helper()
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	var add []mutate.Addendum
	for i, a := range archives {
		add = append(add, mutate.Addendum{Layer: layerOf(t, a), History: v1.History{CreatedBy: "step " + string(rune('1'+i))}})
	}
	img, err := mutate.Append(img, add...)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	file.Config.Cmd, file.Config.Env = []string{"/bin/sh"}, []string{"PATH=/bin"}
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// threeLayers adds, changes and removes.
func threeLayers(t testing.TB) v1.Image {
	return imageOf(t,
		pack(t, "etc/", "etc/hosts: 127.0.0.1", "etc/motd: welcome", "usr/", "usr/bin/", "usr/bin/sh: #!", "bin -> usr/bin"),
		pack(t, "etc/", "etc/.wh.motd", "etc/hosts: 127.0.0.1 localhost", "opt/", "opt/app/", "opt/app/a: a", "opt/app/b: b"),
		pack(t, "opt/", "opt/app/", "opt/app/.wh..wh..opq", "opt/app/c: c"),
	)
}

// tree reads the layers of an image as an overlay would show them: "name=content", and names alone for folders.
func (s *Store) tree(t testing.TB, ref string) string {
	t.Helper()
	lower, _, err := s.Layers(context.Background(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mountTree(t, lower)
}

func digestOf(t testing.TB, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// startRegistry serves a registry on loopback; wrap, which may be nil, is put before it. It gives the registry's name.
func startRegistry(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.Logger(discard))
	if wrap != nil {
		h = wrap(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// checkClean fails if the store has something that nothing refers to, or that is not whole.
func checkClean(t testing.TB, s *Store) {
	t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.dir, path)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(name, tempDir+"/"), strings.HasPrefix(filepath.Base(name), tempPrefix):
			t.Errorf("left behind: %s", name)
		case d.IsDir() && filepath.Base(name) == diffDir:
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	u, err := s.Usage()
	if err != nil || u.Garbage != 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func layerFolders(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func namesOf(images []Image) []string {
	var names []string
	for _, i := range images {
		names = append(names, i.Names...)
	}
	slices.Sort(names)
	return names
}

// archiveWithMode has one folder of a mode and owner.
func archiveWithMode(t testing.TB, name string, mode int64, uid int) []byte {
	t.Helper()
	return packHeader(t, tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, Uid: uid, ModTime: noon})
}

func archiveWithDevice(t testing.TB) []byte {
	t.Helper()
	return packHeader(t, tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Devmajor: 1, Devminor: 3, Mode: 0o666})
}

func packHeader(t testing.TB, h tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
