package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The image that is unpacked is as a distribution's with programs over it: thousands of small files, some large ones.
const (
	imageName   = "localhost/bench:unpack"
	imageLayers = 5
	layerFiles  = 2000
	layerFolder = 40 // files in each folder

	smallFile  = 16 << 10 // the largest of those that most are
	largeFile  = 1 << 20
	largeEvery = 200 // one file in so many is large
)

// imageArchive is one of the forms that an image is handed over in.
type imageArchive struct {
	kind, path string
	size       int64 // of its layers, unpacked
}

// writeArchives makes one image, and two archives of it: as docker save writes it, with layers as they are, and as an
// image comes from a registry, with layers that are compressed.
func writeArchives(dir string) ([]imageArchive, error) {
	plain := empty.Image
	packed := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	size := int64(0)
	for i := range imageLayers {
		text, err := makeLayer(i)
		if err != nil {
			return nil, err
		}
		size += int64(len(text))
		if plain, err = mutate.AppendLayers(plain, static.NewLayer(text, types.DockerUncompressedLayer)); err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
			tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if packed, err = mutate.AppendLayers(packed, layer); err != nil {
			return nil, err
		}
	}
	docker := imageArchive{"a docker archive", filepath.Join(dir, "docker.tar"), size}
	oci := imageArchive{"an OCI archive (gzip)", filepath.Join(dir, "oci.tar"), size}
	tag, err := name.NewTag(imageName)
	if err != nil {
		return nil, err
	}
	if err := tarball.WriteToFile(docker.path, tag, forThisMachine(plain)); err != nil {
		return nil, err
	}
	return []imageArchive{docker, oci}, writeOCIArchive(oci.path, forThisMachine(packed))
}

// forThisMachine is an image with the one thing that its configuration has to say.
func forThisMachine(image v1.Image) v1.Image {
	config, err := image.ConfigFile()
	if err != nil {
		return image // and whoever writes it is told
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	changed, err := mutate.ConfigFile(image, config)
	if err != nil {
		return image
	}
	return changed
}

func writeOCIArchive(path string, image v1.Image) error {
	dir := path + ".layout"
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	note := map[string]string{"org.opencontainers.image.ref.name": imageName}
	if err := l.AppendImage(image, layout.WithAnnotations(note)); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	out := tar.NewWriter(f)
	if err := out.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return f.Close()
}

// makeLayer is the same each time: what is measured on two days is one thing.
func makeLayer(n int) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	random := rand.New(rand.NewPCG(uint64(n), 0))
	words := makeWords(random)
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range layerFiles {
		folder := fmt.Sprintf("usr/share/layer%d/part%d", n, i/layerFolder)
		if i%layerFolder == 0 {
			err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: made})
			if err != nil {
				return nil, err
			}
		}
		size := 1 + random.IntN(smallFile)
		if i%largeEvery == largeEvery-1 {
			size = largeFile
		}
		text := makeText(random, words, size)
		h := tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%s/file%d", folder, i), Mode: 0o644, Size: int64(size), ModTime: made}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// makeWords gives words of no language, of which a text compresses to about a third, as programs and documents do.
func makeWords(random *rand.Rand) [][]byte {
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 2+random.IntN(10))
		for j := range words[i] {
			words[i][j] = byte('a' + random.IntN(26))
		}
	}
	return words
}

func makeText(random *rand.Rand, words [][]byte, size int) []byte {
	text := make([]byte, 0, size+16)
	for len(text) < size {
		text = append(append(text, words[random.IntN(len(words))]...), ' ')
	}
	return text[:size]
}
