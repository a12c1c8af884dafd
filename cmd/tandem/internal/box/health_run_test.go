package box_test

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"tandem/cmd/tandem/internal/box"
	"tandem/internal/testenv"
)

// importConfig makes an image of the bench's root file system as docker save hands it over, with docker's own fields.
func (b *bench) importConfig(ref string, c v1.Config) {
	b.t.Helper()
	pack := b.command("version")
	pack.Path, pack.Args = "/bin/tar", []string{"tar", "c", "-C", b.root, "."}
	got := b.finish(pack)
	if got.status != 0 {
		b.t.Fatalf("tar: %+v", got)
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(got.stdout), types.DockerUncompressedLayer))
	b.check(err)
	file, err := img.ConfigFile()
	b.check(err)
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", "amd64", c
	img, err = mutate.ConfigFile(img, file)
	b.check(err)
	tag, err := name.NewTag(ref)
	b.check(err)
	var archive bytes.Buffer
	b.check(tarball.Write(tag, img, &archive))
	path := filepath.Join(b.t.TempDir(), "image.tar")
	b.check(os.WriteFile(path, archive.Bytes(), 0o600))
	b.must("image", "import", path)
}

// follow gives what the health of containers comes to from now on, a line each time.
func (b *bench) followHealth() *bufio.Reader {
	b.t.Helper()
	cmd := b.command("events", "--since", "1h", "--filter", "event=health_status", "--json")
	out, err := cmd.StdoutPipe()
	b.check(err)
	b.check(cmd.Start())
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	return bufio.NewReader(out)
}

func awaitHealth(t *testing.T, events *bufio.Reader, box, want string) {
	t.Helper()
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("the events ended before %s was %s: %v", box, want, err)
		}
		if strings.Contains(line, `"`+box+`"`) {
			if !strings.Contains(line, "health_status: "+want) {
				t.Fatalf("%s: %s, want %s", box, line, want)
			}
			return
		}
	}
}

// TestHealth has a container be ill, well and ill again.
func TestHealth(t *testing.T) {
	b := newBench(t)
	events := b.followHealth()
	b.detach([]string{
		"--name", "sick", "--health-cmd", "echo looked; cat /tmp/well", "--health-interval", "20ms", "--health-retries", "2", "--stop-signal", "KILL",
	}, "sleep", "1000")
	awaitHealth(t, events, "sick", "unhealthy")
	b.must("exec", "sick", "touch", "/tmp/well")
	awaitHealth(t, events, "sick", "healthy")
	if got := b.must("ps"); !strings.Contains(got, "(healthy)") {
		t.Errorf("ps: %s", got)
	}
	r := b.record("sick")
	if h := r.Health; h == nil || h.Status != box.Healthy || h.Failing != 0 || len(h.Log) == 0 || len(h.Log) > 5 || h.Log[len(h.Log)-1].Output != "looked\n" {
		t.Errorf("inspect: %+v", h)
	}
	b.must("pause", "sick") // no test is made of what cannot answer
	b.must("unpause", "sick")
	b.must("rename", "sick", "renamed") // while its keeper writes its health down
	b.must("exec", "renamed", "rm", "/tmp/well")
	awaitHealth(t, events, "renamed", "unhealthy")
	if got := b.must("ps"); !strings.Contains(got, "(unhealthy)") || !strings.Contains(got, "renamed") {
		t.Errorf("ps: %s", got)
	}
	b.must("stop", "renamed")
	if h := b.record("renamed").Health; h == nil || h.Status != box.HealthUnhealthy {
		t.Errorf("after its end: %+v", h)
	}
	b.must("start", "renamed")
	if got := b.record("renamed").Health; got == nil || got.Status == box.Healthy {
		t.Errorf("started again: %+v", got)
	}
	b.must("rm", "-f", "renamed")
	b.empty()
}

// TestHealthTimeout has a test hang, with a process of its own: neither is left.
func TestHealthTimeout(t *testing.T) {
	b := newBench(t)
	events := b.followHealth()
	b.detach([]string{
		"--name", "slow", "--health-cmd", "echo waiting; sleep 777 & sleep 777", "--health-interval", "10ms", "--health-timeout", "100ms", "--health-retries", "1",
	}, "sleep", "1000")
	awaitHealth(t, events, "slow", "unhealthy")
	if h := b.record("slow").Health; h == nil || len(h.Log) == 0 || h.Log[0].Status != -1 || !strings.Contains(h.Log[0].Output, "longer than 100ms") {
		t.Errorf("%+v", h)
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(limit); !is(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v, %s", what, b.record("slow").Health, b.must("top", "slow"))
			}
		}
	}
	await("four tests, and one that came to say something", func() bool {
		log := b.record("slow").Health.Log
		return len(log) >= 4 && slices.ContainsFunc(log, func(p box.Probe) bool { return strings.Contains(p.Output, "longer than 100ms: waiting") })
	})
	// One test may be on its way, with its two processes. Those of the ones before are gone, once they have seen that.
	await("tests that were killed go on", func() bool { return strings.Count(b.must("top", "slow"), "   sleep 777") <= 2 })
	b.must("rm", "-f", "slow")
	b.empty()
}

// TestHealthForeground has a container in the foreground tested too, and of an image that says how.
func TestHealthForeground(t *testing.T) {
	b := newBench(t)
	b.importConfig("healthy:1", v1.Config{
		Cmd:          []string{"sh", "-c", "until [ -e /tmp/tested ]; do sleep 0.02; done"},
		Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "touch", "/tmp/tested"}, Interval: 20 * time.Millisecond},
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "9000-9002/tcp": {}},
	})
	b.must("run", "--rm", "--net", "none", "healthy:1")
	b.must("run", "-d", "--net", "none", "--name", "none", "--no-healthcheck", "healthy:1", "sleep", "1000")
	b.must("run", "-d", "--net", "none", "--name", "long", "--health-interval", "1h", "healthy:1", "sleep", "1000")
	if r := b.record("none"); r.Healthcheck != nil || r.Health != nil {
		t.Errorf("--no-healthcheck: %+v, %+v", r.Healthcheck, r.Health)
	}
	if got := b.must("ps"); strings.Count(got, "(health: starting)") != 1 {
		t.Errorf("ps: %s", got)
	}
	b.must("rm", "-f", "none", "long")
	for _, bad := range [][]string{{"--no-healthcheck", "--health-cmd", "true"}, {"--health-interval", "10us"}, {"--health-retries", "-1"}, {"--health-timeout", "soon"}} {
		if got := b.tandem(append(append([]string{"run", "--rm"}, bad...), "healthy:1", "true")...); got.status != 125 || !strings.Contains(got.stderr, "health") {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	b.empty()
}

// TestPublishAll publishes what the image and the user expose, and nothing twice.
func TestPublishAll(t *testing.T) {
	b := newBench(t)
	testenv.Need(t, testenv.NetNS)
	b.importConfig("exposed:1", v1.Config{Cmd: []string{"sleep", "1000"}, ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "9000-9002/tcp": {}}})
	b.importConfig("strange:1", v1.Config{Cmd: []string{"true"}, ExposedPorts: map[string]struct{}{"80/sctp": {}, "many": {}}})
	b.importConfig("much:1", v1.Config{Cmd: []string{"true"}, ExposedPorts: map[string]struct{}{"1-65535": {}}})
	inNetNS(t, func() {
		b.must("run", "-d", "--name", "all", "-P", "--expose", "7000", "-p", "127.0.0.1:8080:80", "exposed:1")
		ports := b.must("port", "all")
		for _, want := range []string{"80/tcp -> 127.0.0.1:8080\n", "53/udp -> 0.0.0.0:", "53/udp -> [::]:", "7000/tcp -> 0.0.0.0:", "9000/tcp -> ", "9001/tcp -> ", "9002/tcp -> "} {
			if !strings.Contains(ports, want) {
				t.Errorf("port has no %q: %s", want, ports)
			}
		}
		if got := strings.Count(ports, "80/tcp"); got != 1 {
			t.Errorf("80/tcp is published %d times", got)
		}
		b.must("rm", "-f", "all")
		b.must("run", "-d", "--name", "some", "-p", "127.0.0.1:8080:9001", "exposed:1")
		if got := b.must("ps"); !strings.Contains(got, "127.0.0.1:8080->9001/tcp, 80/tcp, 9000/tcp, 9002/tcp, 53/udp") {
			t.Errorf("ps: %s", got)
		}
		b.must("rm", "-f", "some")
		b.must("run", "--rm", "strange:1") // it says nothing that would be needed
		for ref, want := range map[string]string{"strange:1": "what the image exposes", "much:1": "65535 ports are exposed, at most 256"} {
			if got := b.tandem("run", "--rm", "-P", ref); got.status != 125 || !strings.Contains(got.stderr, want) {
				t.Errorf("run -P %s: %+v, want %q", ref, got, want)
			}
		}
		if got := b.tandem("run", "--rm", "-P", "--net", "host", "exposed:1", "true"); got.status != 125 || !strings.Contains(got.stderr, "--publish-all") {
			t.Errorf("with --net host: %+v", got)
		}
		b.empty()
	})
}

func TestVolumesFrom(t *testing.T) {
	b := newBench(t)
	one, two := t.TempDir(), t.TempDir()
	b.check(os.WriteFile(filepath.Join(one, "f"), []byte("one\n"), 0o644))
	b.check(os.WriteFile(filepath.Join(two, "f"), []byte("two\n"), 0o644))
	b.detach([]string{"--name", "first", "-v", one + ":/a", "-v", one + ":/b", "-v", one + ":/c:ro", "--tmpfs", "/mem"}, "true")
	b.must("wait", "first")
	script := "cat /a/f /b/f; for d in a b c; do touch /$d/new 2>/dev/null && echo $d; rm -f /$d/new; done; ls -d /mem 2>/dev/null"
	for from, want := range map[string]string{"first": "one\ntwo\na\nb\n", "first:rw": "one\ntwo\na\nb\n", "first:ro": "one\ntwo\nb\n"} {
		if got := b.run([]string{"--volumes-from", from, "-v", two + ":/b"}, "sh", "-c", script); got.stdout != want {
			t.Errorf("%s: %q, want %q, %s", from, got.stdout, want, got.stderr)
		}
	}
	for bad, want := range map[string]string{"none": "no such container: none", "first:rx": "want CONTAINER", ":ro": "want CONTAINER"} {
		if got := b.run([]string{"--volumes-from", bad}, "true"); got.status != 125 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want %q", bad, got, want)
		}
	}
	b.must("rm", "first")
	b.empty()
}
