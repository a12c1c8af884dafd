package box_test

import (
	"path/filepath"
	"strings"
	"testing"

	"tandem/cmd/tandem/internal/box"
)

// TestFormat prints containers by templates as people have them in their scripts for docker.
func TestFormat(t *testing.T) {
	b := newBench(t)
	id := b.detach([]string{
		"--name", "web", "-l", "com.example.role=front", "-v", b.root + ":/all:ro", "--tmpfs", "/t", "-m", "64M", "-e", "A=b", "-h", "web.example", "-w", "/tmp",
	}, "sh", "-c", "exec sleep 1000")
	b.run([]string{"--name", "other"}, "true")
	b.must("exec", "web", "sh", "-c", "head -c 1234 /dev/zero >/tmp/f")
	b.must("create", "--net", "none", "--name", "made", "--rootfs", b.root, "--", "true")
	if got := b.tandem(b.arguments([]string{"--name", "gone"}, []string{"sh", "-c", "exit 7"})...); got.status != 7 {
		t.Fatalf("%+v", got)
	}
	record := b.record("web")
	short := box.ShortID(id)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"ps", "--format", "{{.Names}}"}, "web"},
		{[]string{"ps", "-a", "--format", "{{.Names}} {{.State}}"}, "gone exited\nmade created\nweb running"},
		{[]string{"ps", "--format", "table {{.ID}}\t{{.Names}}"}, "CONTAINER ID   NAMES\n" + short + "   web"},
		{[]string{"ps", "--no-trunc", "--format", "{{.ID}} {{.Mounts}} {{.Command}}"}, id + " " + b.root + ` "sh -c exec sleep 1000"`},
		{[]string{"ps", "--format", `{{.Label "com.example.role"}} {{.Networks}} {{.Image}}`}, "front none " + b.root},
		{[]string{"ps", "-a", "--format", "{{.Names}} {{.Size}}"}, "gone 0B\nmade 0B\nweb 1.234kB"},
		{[]string{"ps", "-s", "--format", `{{json .Size}}`}, `"1.234kB"`},
		{[]string{"ps", "-q", "--format", "{{.Names}}"}, short},
		{[]string{"inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}", "web", "gone", "made"}, "running true 0\nexited false 7\ncreated false 0"},
		{[]string{"inspect", "-f", "{{.Id}} {{.Name}} {{.Path}} {{.Args}}", "web"}, id + " web sh [-c exec sleep 1000]"},
		{[]string{"inspect", "-f", `{{.State.Pid}} {{.pid}}`, "web"}, ""}, // of both kinds: neither has all
		{[]string{"inspect", "-f", `{{index .Config.Labels "com.example.role"}} {{.Config.Labels.none}}`, "web"}, "front <no value>"},
		{[]string{"inspect", "-f", `{{.Config.Hostname}} {{.Config.Env}} {{.Config.WorkingDir}} {{.HostConfig.Memory}}`, "web"}, "web.example [A=b] /tmp 67108864"},
		{[]string{"inspect", "-f", `{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}};{{end}}`, "web"}, "bind /all false;tmpfs /t true;"},
		{[]string{"inspect", "-f", `{{range $name, $n := .NetworkSettings.Networks}}{{$name}}{{end}}`, "web"}, "none"},
		{[]string{"inspect", "-f", `{{.LogPath}}`, "web"}, filepath.Join(record.Folder(), "log")},
		{[]string{"inspect", "-f", `{{.State.FinishedAt}}`, "web"}, "0001-01-01T00:00:00Z"},
		{[]string{"inspect", "-f", `{{.options.name}} {{.status}}`, "web"}, "web running"},
		{[]string{"inspect", "-f", `{{.exit.status}}`, "gone"}, "7"},
		{[]string{"events", "--since", "1h", "--until", "0s", "-f", "event=die", "--format", "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}"}, "die other 0\ndie gone 7"},
		{[]string{"stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"}, "web 1"},
	} {
		got := b.tandem(test.args...)
		if (got.status == 0) != (test.want != "") || strings.TrimSuffix(got.stdout, "\n") != test.want {
			t.Errorf("tandem %q prints %q, status %d, %q; want %q", test.args, got.stdout, got.status, got.stderr, test.want)
		}
	}
	if got := strings.Split(b.must("ps", "-s"), "\n"); len(got) != 2 || !strings.HasSuffix(got[0], "NAMES   SIZE") || !strings.HasSuffix(got[1], "web     1.234kB") {
		t.Errorf("ps -s: %q", got)
	}
	if got := strings.Split(b.must("ps"), "\n"); len(got) != 2 || !strings.HasSuffix(got[0], "NAMES") {
		t.Errorf("ps: %q", got)
	}
	if got := decode[[]struct {
		Id    string
		State struct{ Pid int }
	}](t, b.must("inspect", "-f", "json", "web")); len(got) != 1 || got[0].Id != id || got[0].State.Pid != record.PID {
		t.Errorf("inspect -f json: %+v", got)
	}
	if got := decode[map[string]string](t, b.must("ps", "--format", "json")); got["Names"] != "web" || got["Labels"] != "com.example.role=front" {
		t.Errorf("ps --format json: %q", got)
	}
	if got := b.tandem("inspect", "-f", "{{.Name}}", "web", "none", "gone"); got.status != 125 || got.stdout != "web\ngone\n" || !strings.Contains(got.stderr, "no such container, and no such image: none") {
		t.Errorf("inspect of what is there and what is not: %+v", got)
	}
	b.importRoot("web")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-f", "{{.Id}}", "web"}, id},
		{[]string{"-f", "{{.Id}}", "--type", "container", "web"}, id},
		{[]string{"-f", "{{.RepoTags}}", "--type", "image", "web"}, "[web:latest]"},
		{[]string{"-f", "{{.Config.Cmd}}", "web:latest"}, "[sh]"},
		{[]string{"--type", "container", "web:latest"}, ""},
		{[]string{"--type", "image", "gone"}, ""},
		{[]string{"--type", "volume", "gone"}, ""},
	} {
		got := b.tandem(append([]string{"inspect"}, test.args...)...)
		if (got.status == 0) != (test.want != "") || test.want != "" && got.stdout != test.want+"\n" {
			t.Errorf("inspect %q: %+v, want %q", test.args, got, test.want)
		}
	}
	b.must("rm", "-f", "web", "gone", "made")
	for _, bad := range [][]string{
		{"ps", "--format", "{{.Foo}}"}, {"ps", "--format", "{{.ID"}, {"inspect", "-f", "{{", "x"}, {"events", "--format", "{{"}, {"stats", "--format", "{{.Foo}}"},
	} {
		if got := b.tandem(bad...); got.status != 125 || !strings.Contains(got.stderr, `for "--format": `) {
			t.Errorf("tandem %q: %+v", bad, got)
		}
	}
	b.empty()
}
