package image

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// requests counts what a registry is asked for.
type requests struct {
	mu   sync.Mutex
	seen []string
	edit func(w http.ResponseWriter, r *http.Request) bool // true if it has answered
}

func (q *requests) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.mu.Lock()
		q.seen = append(q.seen, r.Method+" "+r.URL.Path)
		edit := q.edit
		q.mu.Unlock()
		if edit == nil || !edit(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

// blobs gives how many blobs were asked for since the last call.
func (q *requests) blobs() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, s := range q.seen {
		if strings.HasPrefix(s, "GET ") && strings.Contains(s, "/blobs/") {
			n++
		}
	}
	q.seen = nil
	return n
}

func (q *requests) answer(edit func(w http.ResponseWriter, r *http.Request) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.edit = edit
}

// put writes an image to a registry by the client's library alone.
func put(t testing.TB, ref string, what remote.Taggable) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	switch what := what.(type) {
	case v1.ImageIndex:
		err = remote.WriteIndex(r, what)
	case v1.Image:
		err = remote.Write(r, what)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPushAndPull(t *testing.T) {
	q := &requests{}
	host := startRegistry(t, q.wrap)
	s := newStore(t)
	ctx := context.Background()
	img := threeLayers(t)
	if _, err := s.Import(ctx, bytes.NewReader(dockerArchive(t, map[string]v1.Image{"three": img})), ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	var steps []string
	d, err := s.Push(ctx, "three", host+"/team/three:v1", TransferOptions{Progress: func(step string, done, total int64) {
		if done == total {
			steps = append(steps, step)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[0] != "push "+host+"/team/three:v1" {
		t.Errorf("progress %q", steps)
	}
	q.blobs()

	other := newStore(t)
	var told []string
	var last int64
	pulled, err := other.Pull(ctx, host+"/team/three:v1", TransferOptions{Progress: func(step string, done, total int64) {
		if len(told) == 0 || told[len(told)-1] != step {
			told, last = append(told, step), 0
		}
		if done < last || total > 0 && done > total {
			t.Errorf("%s: %d after %d of %d", step, done, last, total)
		}
		last = done
	}})
	if err != nil {
		t.Fatal(err)
	}
	if pulled.Digest != d || pulled.Names[0] != host+"/team/three:v1" || len(pulled.Layers) != 3 {
		t.Errorf("pulled %+v, want %s", pulled, d)
	}
	if want := []string{"ask " + host, "pull " + host + "/team/three:v1", "unpack"}; !slices.Equal(told, want) {
		t.Errorf("progress %q, want %q", told, want)
	}
	if got := other.tree(t, host+"/team/three:v1"); got != threeLayersTree {
		t.Errorf("tree %s", got)
	}
	if n := q.blobs(); n != 4 {
		t.Errorf("%d blobs were asked for, want 4", n)
	}
	// Again, and under another name: nothing is sent twice.
	if _, err := other.Pull(ctx, host+"/team/three:v1", TransferOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Pull(ctx, host+"/team/three@"+d.String(), TransferOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := q.blobs(); n != 0 {
		t.Errorf("%d blobs were asked for again", n)
	}
	images, err := other.List()
	if err != nil || len(images) != 1 || len(images[0].Names) != 2 {
		t.Errorf("%+v, %v", images, err)
	}
	checkClean(t, other)

	for what, ref := range map[string]string{"tag": host + "/team/three:none", "repository": host + "/none", "digest": host + "/team/three@sha256:" + strings.Repeat("0", 64)} {
		if _, err := other.Pull(ctx, ref, TransferOptions{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s that is not there: %v", what, err)
		}
	}
	if _, err := s.Push(ctx, "none", host+"/x", TransferOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("push of nothing: %v", err)
	}
}

func TestPullFromAnIndex(t *testing.T) {
	host := startRegistry(t, nil)
	amd, arm := imageOf(t, pack(t, "amd: 64")), imageOf(t, pack(t, "arm: 64"))
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	)
	// One inside another, as the specification allows.
	outer := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})
	put(t, host+"/multi:1", index)
	put(t, host+"/multi:2", outer)
	for _, tag := range []string{"multi:1", "multi:2"} {
		s := newStore(t)
		ref := host + "/" + tag
		if _, err := s.Pull(context.Background(), ref, TransferOptions{Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}}); err != nil {
			t.Fatal(err)
		}
		if got := s.tree(t, ref); got != "amd=64" {
			t.Errorf("%s: tree %s", tag, got)
		}
		p, err := ParsePlatform("arm64")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pull(context.Background(), ref, TransferOptions{Platform: &p}); err != nil {
			t.Fatal(err)
		}
		if got := s.tree(t, ref); got != "arm=64" {
			t.Errorf("%s for arm64: tree %s", tag, got)
		}
		images, err := s.List()
		if err != nil || len(images) != 2 || len(images[1].Names) != 0 {
			t.Errorf("the image that lost its name: %+v, %v", images, err)
		}
		if r, err := s.Prune(false); err != nil || len(r.Images) != 1 || r.Bytes == 0 {
			t.Errorf("pruned %+v, %v", r, err)
		}
		checkClean(t, s)
	}
}

// TestRegistryThatLies has a registry that sends something else than it was asked for.
func TestRegistryThatLies(t *testing.T) {
	q := &requests{}
	host := startRegistry(t, q.wrap)
	img := imageOf(t, pack(t, "a: "+strings.Repeat("x", 100_000)))
	ref := host + "/image:1"
	put(t, ref, img)
	layer, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layer[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layer[0].Size()
	if err != nil {
		t.Fatal(err)
	}
	isLayer := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, d.String())
	}
	for what, body := range map[string][]byte{
		"other bytes":    bytes.Repeat([]byte("y"), int(size)),
		"fewer bytes":    []byte("short"),
		"more bytes":     bytes.Repeat([]byte("y"), int(size)*10),
		"an empty layer": nil,
	} {
		for _, length := range []bool{true, false} {
			q.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if !isLayer(r) {
					return false
				}
				if length {
					w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				}
				for part := range slices.Chunk(body, 100) {
					if _, err := w.Write(part); err != nil {
						break
					}
				}
				return true
			})
			s := newStore(t)
			if _, err := s.Pull(context.Background(), ref, TransferOptions{}); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
			checkClean(t, s)
			if u, _ := s.Usage(); u != (Usage{}) {
				t.Errorf("%s: left %+v", what, u)
			}
		}
	}
	// A manifest that is not the one of the digest.
	q.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return false
		}
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		fmt.Fprint(w, `{"schemaVersion":2,"config":{},"layers":[]}`)
		return true
	})
	if _, err := newStore(t).Pull(context.Background(), host+"/image@"+digestOf(t, img), TransferOptions{}); err == nil {
		t.Error("pulled another manifest")
	}
	// One that is said to be of schema 1, for which the client believes the header.
	other := imageOf(t, pack(t, "evil: x"))
	q.answer(nil)
	put(t, host+"/image:2", other)
	manifest, err := other.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	q.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/manifests/"+digestOf(t, img)) {
			return false
		}
		w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
		w.Header().Set("Docker-Content-Digest", digestOf(t, img))
		_, _ = w.Write(manifest)
		return true
	})
	s := newStore(t)
	if image, err := s.Pull(context.Background(), host+"/image@"+digestOf(t, img), TransferOptions{}); !errors.Is(err, ErrDigest) {
		t.Errorf("pulled another manifest: %+v, %v", image, err)
	}
	checkClean(t, s)
}

// TestConnectionThatBreaks cuts a layer short twice, and the third time lets it through.
func TestConnectionThatBreaks(t *testing.T) {
	q := &requests{}
	host := startRegistry(t, q.wrap)
	img := imageOf(t, pack(t, "a: "+strings.Repeat("xyz", 50_000)))
	put(t, host+"/image:1", img)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Int32
	q.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, d.String()) {
			return false
		}
		if broken.Add(1) > 2 {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		if size, err := layers[0].Size(); err == nil {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		}
		fmt.Fprint(w, "half of it")
		panic(http.ErrAbortHandler)
	})
	s := newStore(t)
	if _, err := s.Pull(context.Background(), host+"/image:1", TransferOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := broken.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
	checkClean(t, s)
}

func TestPullIsCancelled(t *testing.T) {
	q := &requests{}
	host := startRegistry(t, q.wrap)
	put(t, host+"/image:1", imageOf(t, pack(t, "a: x")))
	ctx, cancel := context.WithCancel(context.Background())
	q.answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		cancel()
		<-r.Context().Done() // the client has gone
		return true
	})
	s := newStore(t)
	if _, err := s.Pull(ctx, host+"/image:1", TransferOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	checkClean(t, s)
}

// TestLogin takes the name and password from where docker login leaves them.
func TestLogin(t *testing.T) {
	const user, password = "anna", "secret"
	q := &requests{}
	host := startRegistry(t, q.wrap)
	put(t, host+"/private:1", imageOf(t, pack(t, "a: x")))
	q.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	config := t.TempDir()
	t.Setenv("DOCKER_CONFIG", config)
	s := newStore(t)
	if _, err := s.Pull(context.Background(), host+"/private:1", TransferOptions{}); !errors.Is(err, ErrDenied) {
		t.Errorf("without a login: %v", err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	if err := os.WriteFile(filepath.Join(config, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(context.Background(), host+"/private:1", TransferOptions{}); err != nil {
		t.Errorf("with a login: %v", err)
	}
}

func TestCertificateOfNobody(t *testing.T) {
	server := httptest.NewTLSServer(registry.New(registry.Logger(discard)))
	defer server.Close()
	server.Config.ErrorLog = discard
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	ctx := context.Background()
	if _, err := s.Import(ctx, bytes.NewReader(pack(t, "a: x")), ImportOptions{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	// A registry on loopback may speak HTTP, and this one speaks HTTPS to nobody who asks for that.
	if _, err := s.Push(ctx, "a", u.Host+"/a", TransferOptions{}); err == nil {
		t.Error("pushed to a server with a certificate of nobody")
	}
	if _, err := s.Push(ctx, "a", u.Host+"/a", TransferOptions{Insecure: true}); err != nil {
		t.Errorf("insecure: %v", err)
	}
	if _, err := s.Pull(ctx, u.Host+"/a", TransferOptions{Insecure: true}); err != nil {
		t.Errorf("insecure: %v", err)
	}
}

func TestPlainHTTPIsForLoopback(t *testing.T) {
	for _, test := range []struct {
		url      string
		insecure bool
		want     error
	}{
		{"http://10.1.2.3:5000/v2/", false, ErrInsecure},
		{"http://registry.example.org/v2/", false, ErrInsecure},
		{"http://localhost.example.org/v2/", false, ErrInsecure},
		{"http://10.1.2.3:5000/v2/", true, errPassed},
		{"http://127.0.0.1:5000/v2/", false, errPassed},
		{"http://[::1]:5000/v2/", false, errPassed},
		{"http://localhost:5000/v2/", false, errPassed},
		{"https://10.1.2.3/v2/", false, errPassed},
	} {
		r, err := http.NewRequest(http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&guard{passed{}, test.insecure}).RoundTrip(r); !errors.Is(err, test.want) {
			t.Errorf("%s, insecure %v: %v, want %v", test.url, test.insecure, err, test.want)
		}
	}
}

var errPassed = errors.New("passed")

type passed struct{}

func (passed) RoundTrip(*http.Request) (*http.Response, error) { return nil, errPassed }
