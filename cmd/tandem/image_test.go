package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"tandem/container/image"
	"tandem/internal/testenv"
)

// imageCommand runs `tandem image ...` and gives its status and what it printed.
func imageCommand(stdin io.Reader, args ...string) (status int, stdout, stderr string) {
	var out, words bytes.Buffer
	status = run(context.Background(), append([]string{"image"}, args...), stdin, &out, &words)
	return status, out.String(), words.String()
}

// rootFSArchive is the archive of a small root file system.
func rootFSArchive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, body string }{{"etc/motd", "hello\n"}, {"bin/sh", "#!\n"}, {"evil\x1b[31m", ""}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.body))}); err != nil {
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

func TestImageCommands(t *testing.T) {
	testenv.Need(t, testenv.Root)
	t.Setenv("TANDEM_ROOT", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	archive := rootFSArchive(t)
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "saved.tar")

	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string // regular expressions
	}{
		{"ls", 0, `^NAME +DIGEST`, ``},
		{"ls --json", 0, `^\[\]\n$`, ``},
		{"import " + file + " mine:1", 0, `^[0-9a-f]{12} mine:1\n$`, ``},
		{"import " + file + " mine:1 --json", 0, `"docker.io/library/mine:1"`, ``},
		{"import - piped --platform arm64", 0, ` piped:latest\n$`, ``},
		{"import - piped --kind oci", statusFailed, ``, `neither index.json nor manifest.json`},
		{"import - UPPER", statusFailed, ``, `invalid image reference: repository "UPPER"`},
		{"import /nonexistent x", statusFailed, ``, `/nonexistent`},
		{"import " + os.Args[0] + " x", statusFailed, ``, `not a container image`},
		{"import", statusFailed, ``, `between 1 and 2 arg`},
		{"import " + file + " x --kind zip", statusFailed, ``, `want auto, docker, oci, rootfs`},
		{"import " + file + " x --platform a/b/c/d", statusFailed, ``, `want one such as linux/arm64`},
		{"import " + file + " x --change FROM=x", statusFailed, ``, `nothing follows`},
		{"ls", 0, `(?m)^mine:1 .* 1 .* linux/amd64 .*\n`, ``},
		{"ls --format {{.Repository}}|{{.Tag}}|{{.Layers}}|{{.Platform}}|{{.ID}}", 0, `(?m)^mine\|1\|1\|linux/amd64\|[0-9a-f]{12}$`, ``},
		{"ls --format table{{.Tag}}\\t{{.Name}} --no-trunc", 0, `(?m)^TAG +NAME\n(.*\n)*1 +mine:1$`, ``},
		{"ls mine --format {{.Name}}", 0, `^mine:1\n$`, ``},
		{"ls -a mine:1 --format {{.Name}}", 0, `^mine:1\n$`, ``},
		{"ls mine:2 --json", 0, `^\[\]\n$`, ``},
		{"ls --format {{.Digest}}", 0, `^sha256:[0-9a-f]{64}\n`, ``},
		{"ls --no-trunc -q", 0, `^sha256:[0-9a-f]{64}\n`, ``},
		{"ls --format {{.Nope}}", statusFailed, ``, `invalid argument "\{\{\.Nope\}\}" for "--format": no such name: \.Nope: want \.AddedAt`},
		{"ls --format {{.ID --json", statusFailed, ``, `format json`},
		{"inspect mine:1 -f {{.Os}}/{{.Architecture}}|{{.RepoTags}}|{{.Author}}", 0, `^linux/amd64\|\[mine:1\]\|\n$`, ``},
		{"inspect mine:1 -f {{.config.os}}", 0, `^linux\n$`, ``},
		{"inspect mine:1 -f {{.Nope}}", statusFailed, ``, `can't evaluate field Nope`},
		{"ls -q", 0, `^[0-9a-f]{12}\n[0-9a-f]{12}\n$`, ``},
		{"layers mine:1", 0, `(?m)^1 .* 5 +0 +0 +tandem image import$`, ``},
		{"layers mine:1 --changes", 0, `(?m)^A - /evil\?\[31m$`, ``},
		{"layers mine:1 --json", 0, `"path": "etc/motd"`, ``},
		{"layers none", statusFailed, ``, "no such image \\(see `tandem image ls`\\)"},
		{"inspect mine:1", 0, `(?m)^platform +linux/amd64$`, ``},
		{"inspect none", statusFailed, ``, `no such image`},
		{"tag mine:1 " + host + "/team/mine:1 mine:2", 0, `^$`, ``},
		{"tag mine:1 mine:3 --json", 0, `"docker.io/library/mine:3"`, ``},
		{"tag none x", statusFailed, ``, `no such image`},
		{"push " + host + "/team/mine:1", 0, `^sha256:[0-9a-f]{64} ` + host + `/team/mine:1\n$`, ``},
		{"push mine:1 " + host + "/team/other --json", 0, `"name": "` + host + `/team/other:latest"`, ``},
		{"push mine:9 " + host + "/team/other", statusFailed, ``, "no such image \\(see"},
		{"save mine:1 -o " + saved, 0, regexp.QuoteMeta(saved), ``},
		{"save mine:1 --json", statusFailed, ``, `--output`},
		{"save mine:1 mine:2 --json -o " + saved, 0, `"bytes": `, ``},
		{"save none -o " + saved + ".none", statusFailed, ``, `no such image`},
		{"rm mine:1 mine:2 none", statusFailed, `removed mine:1\nremoved mine:2\nfreed`, `none: no such image`},
		{"rm none", statusFailed, `^$`, `no such image`},
		{"rm mine:3 --json", 0, `"docker.io/library/mine:3"`, ``},
		{"rm " + host + "/team/mine:1", 0, `removed sha256:`, ``},
		{"pull " + host + "/team/mine:1", 0, ` ` + host + `/team/mine:1\n$`, ``},
		{"pull " + host + "/team/mine:none", statusFailed, ``, `no such image in the registry`},
		{"pull a//b", statusFailed, ``, `invalid image reference`},
		{"pull " + host + "/team/mine:1 --json", 0, `"names"`, ``},
		{"import " + saved, 0, `mine:1\n.* mine:2\n`, ``},
		{"prune", 0, `^freed 0.0 MiB\n$`, ``},
		{"prune --all --json", 0, `"docker.io/library/mine:2"`, ``},
		{"ls --json", 0, `^\[\]\n$`, ``},
		{"nosuch", statusFailed, ``, `"nosuch" is not a command of tandem image`},
	} {
		status, stdout, stderr := imageCommand(bytes.NewReader(archive), strings.Fields(c.args)...)
		if status != c.status || !regexp.MustCompile(c.stdout).MatchString(stdout) || !regexp.MustCompile(c.stderr).MatchString(stderr) {
			t.Errorf("image %s: status %d, stdout %q, stderr %q; want %d, %q, %q", c.args, status, stdout, stderr, c.status, c.stdout, c.stderr)
		}
		if status == 0 && strings.Contains(c.args, "--json") && !json.Valid([]byte(stdout)) {
			t.Errorf("image %s: no JSON: %q", c.args, stdout)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(saved), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestImageChanges(t *testing.T) {
	testenv.Need(t, testenv.Root)
	t.Setenv("TANDEM_ROOT", t.TempDir())
	args := []string{"import", "-", "x"}
	for _, c := range []string{
		`CMD ["a", "b c"]`, `entrypoint exec a b`, `ENV A=b c`, `ENV B="d"`, `USER 5:6`, `WORKDIR /w`, `EXPOSE 80/tcp 443`, `VOLUME ["/data"]`,
		`LABEL a.b='c'`, `STOPSIGNAL SIGINT`,
	} {
		args = append(args, "--change", c)
	}
	if status, _, stderr := imageCommand(bytes.NewReader(rootFSArchive(t)), args...); status != 0 {
		t.Fatal(stderr)
	}
	s, err := image.Open("")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Config("x")
	want := ocispec.ImageConfig{
		Cmd: []string{"a", "b c"}, Entrypoint: []string{"/bin/sh", "-c", "exec a b"}, Env: []string{"A=b c", "B=d"}, User: "5:6", WorkingDir: "/w",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "443": {}}, Volumes: map[string]struct{}{"/data": {}},
		Labels: map[string]string{"a.b": "c"}, StopSignal: "SIGINT",
	}
	if err != nil || !reflect.DeepEqual(got.Config, want) {
		t.Errorf("%+v, %v, want %+v", got.Config, err, want)
	}
	status, stdout, _ := imageCommand(nil, "inspect", "x")
	for _, line := range []string{`command +"a" "b c"`, `user +5:6`, `ports +443`, `label +a.b=c`, `environment +A=b c\n +B=d`} {
		if !regexp.MustCompile(line).MatchString(stdout) || status != 0 {
			t.Errorf("inspect prints %s, want %s", stdout, line)
		}
	}
	for _, bad := range []string{"CMD", "FROM x", "ENV a", "LABEL =b", ""} {
		var c ocispec.ImageConfig
		if err := changeConfig(&c, bad); err == nil {
			t.Errorf("%q made %+v", bad, c)
		}
	}
}

// TestImageHelpHasExamples holds each verb to one, and to --json.
func TestImageHelpHasExamples(t *testing.T) {
	var group *cobra.Command
	for _, c := range newRootCommand().Commands() {
		if c.Name() == "image" {
			group = c
		}
	}
	if group == nil {
		t.Fatal("no image command")
	}
	for _, c := range group.Commands() {
		if c.Hidden {
			continue
		}
		if !strings.Contains(c.Example, "tandem image "+c.Name()) {
			t.Errorf("%s: example %q", c.Name(), c.Example)
		}
		if c.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", c.Name())
		}
	}
}
