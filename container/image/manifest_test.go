package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/container/image/compress"
)

// goodManifest is one that registries have, with a hole for its layers.
const goodManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
	`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + someDigest + `","size":10},"layers":[%s]}`

func layerJSON(mediaType, digest string, size int64) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
}

func TestManifests(t *testing.T) {
	s := &Store{limits: Limits{BlobBytes: 1000, Layers: 3}.orDefaults()}
	gz := layerJSON(ocispec.MediaTypeImageLayerGzip, someDigest, 10)
	for _, test := range []struct {
		name, manifest, claimed string
		want                    error
	}{
		{"good", fmt.Sprintf(goodManifest, gz), ocispec.MediaTypeImageManifest, nil},
		{"good, of no type", `{"schemaVersion":2,"config":{"mediaType":"` + dockerConfig + `","digest":"` + someDigest + `","size":1},"layers":[]}`, "", nil},
		{"docker's", fmt.Sprintf(strings.Replace(goodManifest, ocispec.MediaTypeImageManifest, dockerManifest, 1), layerJSON(dockerLayerGzip, someDigest, 10)), dockerManifest, nil},
		{"zstd", fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerZstd, someDigest, 10)), "", nil},
		{"of another type than announced", fmt.Sprintf(goodManifest, gz), dockerManifest, ErrFormat},
		{"announced as an index", fmt.Sprintf(goodManifest, gz), ocispec.MediaTypeImageIndex, ErrFormat},
		{"an index", `{"schemaVersion":2,"manifests":[]}`, "", ErrFormat},
		{"both", `{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}`, "", ErrFormat},
		{"both, said to be one", `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","manifests":[],"layers":[]}`, "", ErrFormat},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, "", ErrFormat},
		{"schema 3", `{"schemaVersion":3,"layers":[],"config":{}}`, "", ErrFormat},
		{"an artifact", strings.Replace(fmt.Sprintf(goodManifest, gz), ocispec.MediaTypeImageConfig, "application/vnd.cncf.helm.config.v1+json", 1), "", ErrFormat},
		{"not to be distributed", fmt.Sprintf(goodManifest, layerJSON("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", someDigest, 10)), "", ErrFormat},
		{"docker's foreign", fmt.Sprintf(goodManifest, layerJSON("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", someDigest, 10)), "", ErrFormat},
		{"from elsewhere", fmt.Sprintf(goodManifest, strings.Replace(gz, "{", `{"urls":["http://169.254.169.254/"],`, 1)), "", ErrFormat},
		{"encrypted", fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerGzip+"+encrypted", someDigest, 10)), "", ErrFormat},
		{"a digest that is none", fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerGzip, "sha256:../../../etc/passwd", 10)), "", ErrFormat},
		{"a digest of md5", fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerGzip, "md5:d41d8cd98f00b204e9800998ecf8427e", 10)), "", ErrFormat},
		{"no digest", fmt.Sprintf(goodManifest, `{"mediaType":"`+ocispec.MediaTypeImageLayerGzip+`"}`), "", ErrFormat},
		{"a size below zero", fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerGzip, someDigest, -1)), "", ErrFormat},
		{"a large blob", fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerGzip, someDigest, 1001)), "", ErrTooLarge},
		{"many layers", fmt.Sprintf(goodManifest, gz+strings.Repeat(","+gz, 3)), "", ErrTooLarge},
		{"more than JSON", fmt.Sprintf(goodManifest, gz) + "{}", "", ErrFormat},
		{"no JSON", "<html>", "", ErrFormat},
		{"a list", "[]", "", ErrFormat},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := s.parseManifest([]byte(test.manifest), test.claimed)
			if !errors.Is(err, test.want) || err == nil && !isManifest(m.MediaType) {
				t.Errorf("%+v, %v, want %v", m.MediaType, err, test.want)
			}
		})
	}
}

func TestConfigs(t *testing.T) {
	m := ocispec.Manifest{Layers: []ocispec.Descriptor{{}}}
	for _, test := range []struct {
		config string
		want   error
	}{
		{`{"os":"linux","rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]}}`, nil},
		{`{"rootfs":{"type":"layers","diff_ids":[]}}`, ErrFormat},
		{`{"rootfs":{"type":"layers","diff_ids":["` + someDigest + `","` + someDigest + `"]}}`, ErrFormat},
		{`{"rootfs":{"type":"magic","diff_ids":["` + someDigest + `"]}}`, ErrFormat},
		{`{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}`, ErrFormat},
		{`{"os":"windows","rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]}}`, ErrFormat},
		{`{"rootfs":5}`, ErrFormat},
		{`null`, ErrFormat},
	} {
		if _, err := parseConfig([]byte(test.config), m); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.config, err, test.want)
		}
	}
}

// TestChoose walks indexes that are in each other.
func TestChoose(t *testing.T) {
	amd, arm := ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	manifest := func(i int, p *ocispec.Platform) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Platform: p}
	}
	documents := map[digest.Digest][]byte{}
	index := func(manifests ...ocispec.Descriptor) ocispec.Descriptor {
		data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": manifests})
		if err != nil {
			t.Fatal(err)
		}
		documents[digest.FromBytes(data)] = data
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(data)}
	}
	v3 := amd
	v3.Variant = "v3"
	deep := manifest(1, &amd)
	for range maxNested + 1 {
		deep = index(deep)
	}
	var many []ocispec.Descriptor
	for i := range maxManifests + 1 {
		many = append(many, manifest(i, &arm))
	}
	loop := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("loop")}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []ocispec.Descriptor{loop}})
	if err != nil {
		t.Fatal(err)
	}
	documents[loop.Digest] = data // its digest is not looked at here, so that it can have itself in it
	for _, test := range []struct {
		name string
		list []ocispec.Descriptor
		want int
		err  error
	}{
		{"the second", []ocispec.Descriptor{manifest(1, &arm), manifest(2, &amd)}, 2, nil},
		{"not the one for newer processors", []ocispec.Descriptor{manifest(1, &v3), manifest(2, &amd)}, 2, nil},
		{"in another index", []ocispec.Descriptor{manifest(1, &arm), index(manifest(3, &arm), manifest(2, &amd))}, 2, nil},
		{"alone, without a platform", []ocispec.Descriptor{manifest(1, nil)}, 1, nil},
		{"none", []ocispec.Descriptor{manifest(1, &arm)}, 0, ErrNotFound},
		{"nothing", nil, 0, ErrNotFound},
		{"too deep", []ocispec.Descriptor{deep}, 0, ErrFormat},
		{"too many", many, 0, ErrTooLarge},
		{"in itself", []ocispec.Descriptor{loop}, 0, ErrNotFound},
		{"a digest that is none", []ocispec.Descriptor{{Digest: "x"}}, 0, ErrFormat},
	} {
		got, err := choose(ocispec.Index{Manifests: test.list}, amd, func(d ocispec.Descriptor) ([]byte, error) { return documents[d.Digest], nil })
		if !errors.Is(err, test.err) || err == nil && got.Digest != digest.FromString(fmt.Sprint(test.want)) {
			t.Errorf("%s: %v, %v, want %d, %v", test.name, got.Digest, err, test.want, test.err)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for _, good := range []string{"linux/amd64", "linux/arm/v7", "windows/amd64"} {
		if p, err := ParsePlatform(good); err != nil || FormatPlatform(p) != good {
			t.Errorf("%s is %+v, %v", good, p, err)
		}
	}
	if p, err := ParsePlatform("arm64"); err != nil || FormatPlatform(p) != "linux/arm64" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "/", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/\n"} {
		if p, err := ParsePlatform(bad); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(goodManifest, layerJSON(ocispec.MediaTypeImageLayerGzip, someDigest, 10))), ocispec.MediaTypeImageManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+`","digest":"`+someDigest+`","platform":{"os":"linux","architecture":"amd64"}}]}`), ocispec.MediaTypeImageIndex)
	f.Add([]byte(`{"os":"linux","rootfs":{"type":"layers","diff_ids":["`+someDigest+`"]},"history":[{"empty_layer":true}]}`), "")
	f.Fuzz(func(t *testing.T, data []byte, claimed string) {
		s := &Store{limits: Limits{}.orDefaults()}
		m, err := s.parseManifest(data, claimed)
		if err == nil {
			for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
				if path := s.blobPath(d.Digest); strings.Contains(path, "..") || d.Size < 0 {
					t.Errorf("%+v is at %s", d, path)
				}
			}
		}
		if index, err := parseIndex(data, claimed); err == nil {
			_, _ = choose(index, platformOr(nil), func(ocispec.Descriptor) ([]byte, error) { return data, nil })
		}
		if c, err := parseConfig(data, m); err == nil {
			(&imageFiles{manifest: m, config: c}).image()
		}
	})
}

func FuzzRecognise(f *testing.F) {
	plain := pack(f, "etc/", "etc/hosts: x")
	for _, seed := range [][]byte{plain, gzipped(f, plain), dockerSeed(f), pack(f, "oci-layout: {}", "index.json: {}"), pack(f, "blobs/", "blobs/sha256/x: y")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		kind, format, err := Recognise(head)
		if err == nil && (kind == "" || format == "") || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%q, %q, %v", kind, format, err)
		}
		if format != compress.Detect(head) {
			t.Errorf("%q", format)
		}
	})
}

func dockerSeed(t testing.TB) []byte {
	return pack(t, "manifest.json: "+`[{"Config":"c.json","RepoTags":["a:b"],"Layers":["l.tar"]}]`, `c.json: {"rootfs":{"type":"layers","diff_ids":["x"]}}`, "l.tar: x")
}

// FuzzImport imports anything into a store, which has to be as it was if that fails.
func FuzzImport(f *testing.F) {
	f.Add(pack(f, "etc/", "etc/hosts: x"))
	f.Add(gzipped(f, pack(f, "a: b")))
	f.Add(dockerSeed(f))
	f.Add(pack(f, "oci-layout: {}", `index.json: {"schemaVersion":2,"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+`","digest":"`+someDigest+`","size":1}]}`))
	f.Fuzz(func(t *testing.T, archive []byte) {
		s, err := Open(t.TempDir(), WithLimits(Limits{LayerBytes: 1 << 20, ImageBytes: 1 << 20, BlobBytes: 1 << 20, Entries: 100}), WithoutDevices())
		if err != nil {
			t.Fatal(err)
		}
		images, err := s.Import(context.Background(), bytes.NewReader(archive), ImportOptions{})
		checkClean(t, s)
		if err != nil {
			if u, _ := s.Usage(); u != (Usage{}) {
				t.Errorf("left %+v after %v", u, err)
			}
			return
		}
		for _, i := range images {
			if _, _, err := s.Layers(context.Background(), i.Digest.String(), nil); err != nil {
				t.Errorf("%+v: %v", i, err)
			}
		}
	})
}
