package box_test

import (
	"strings"
	"testing"

	"tandem/cmd/tandem/internal/box"
)

// TestWords has commands be told what cannot be done, by the names that their user knows.
func TestWords(t *testing.T) {
	b := newBench(t)
	up := b.detach([]string{"--name", "up"}, "sleep", "1000")
	b.detach([]string{"--name", "frozen"}, "sleep", "1000")
	b.must("pause", "frozen")
	here := t.TempDir()
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"pause", "frozen"}, 125, "tandem: container is paused already: frozen\n"},
		{[]string{"unpause", "up"}, 125, "tandem: container is not paused: up\n"},
		{[]string{"exec", "frozen", "true"}, 125, "tandem: container is paused: frozen; tandem unpause frozen lets it go on\n"},
		{[]string{"rm", "up"}, 125, "tandem: container is running: up; stop it first, or remove it with --force\n"},
		{[]string{"rm", "none"}, 125, "tandem: no such container: none\n"},
		{[]string{"rm", "-f", "none"}, 0, "tandem: no such container: none\n"},
		{[]string{"cp", "up:/none", here}, 125, "tandem: cp: container up: open /none: no such file or directory\n"},
		{[]string{"exec"}, 125, "tandem: exec: the container is missing\nSee 'tandem exec --help'\n"},
		{[]string{"exec", "up"}, 125, "tandem: exec: the command is missing\nSee 'tandem exec --help'\n"},
		{[]string{"logs"}, 125, "tandem: logs: the container is missing\nSee 'tandem logs --help'\n"},
		{[]string{"logs", "up", "frozen"}, 125, "tandem: logs: what is \"frozen\"? It takes one container\nSee 'tandem logs --help'\n"},
		{[]string{"rename", "up"}, 125, "tandem: rename: the name is missing\nSee 'tandem rename --help'\n"},
		{[]string{"port"}, 125, "tandem: port: the container is missing\nSee 'tandem port --help'\n"},
		{[]string{"exec", "up", "no-such-thing"}, 127, "container " + box.ShortID(up) + ": exec: "},
		{[]string{"logs", "--tail", "some", "up"}, 125, "want a number of lines, or all"},
		{[]string{"logs", "--since", "soon", "up"}, 125, "--since: "},
		{[]string{"run", "--add-host", "here", "--rootfs", b.root, "true"}, 125, "invalid option: --add-host: resolv: extra host \"here\": want NAME:ADDRESS"},
		{[]string{"run", "--stop-signal", "FOO", "--rootfs", b.root, "true"}, 125, "invalid option: --stop-signal: signal \"FOO\""},
		{[]string{"run", "--pull", "never", "none", "--", "true"}, 125, "image: none: no such image"},
		{[]string{"run", "--label-file", "/none", "--rootfs", b.root, "true"}, 125, "--label-file: open /none"},
		{[]string{"exec", "--env-file", "/none", "up", "true"}, 125, "--env-file: open /none"},
		{[]string{"run"}, 125, "tandem: invalid option: the image is missing, or --rootfs in its place\n"},
		{[]string{"run", "--pull", "never", "none"}, 125, "tandem: image: none: no such image (see `tandem image ls`)\n"},
		{[]string{"run", "-v", "data:/x", "--rootfs", b.root, "true"}, 125, "there are no volumes with names"},
		{[]string{"run", "--ulimit", "files=1", "--rootfs", b.root, "true"}, 125, "is none of as, core"},
		{[]string{"ps", "-f", "colour=red"}, 125, "want id, name, label"},
		{[]string{"exec", "-it", "up", "sh"}, 125, "tandem: --tty with --interactive: standard input is no terminal (leave -t out)\n"},
		{[]string{"images"}, 125, "tandem: \"images\" is not a command of tandem; it has 'tandem image ls'\n"},
	} {
		got := b.tandem(test.args...)
		if whole := strings.HasPrefix(test.want, "tandem: "); got.status != test.status || whole && got.stderr != test.want || !strings.Contains(got.stderr, test.want) {
			t.Errorf("tandem %q: status %d, %q, want %d, %q", test.args, got.status, got.stderr, test.status, test.want)
		}
	}
	if got := b.tandem("rm", "-f", up+"0"); got.stderr != "tandem: no such container: "+up+"0\n" {
		t.Errorf("what was typed is said otherwise: %+v", got)
	}
	if got := b.must("ps", "-f", "status=paused", "-q"); got != b.record("frozen").ID[:12] {
		t.Errorf("ps of those that are paused: %q", got)
	}
	b.must("rm", "-f", "up", "frozen")
	b.empty()
}
