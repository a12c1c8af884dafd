package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/boot/store"
	"tandem/internal/testenv"
)

// kernelCommand runs `tandem kernel ...` and gives its status and what it printed.
func kernelCommand(args ...string) (status int, stdout, stderr string) {
	var out, words bytes.Buffer
	status = run(context.Background(), append([]string{"kernel"}, args...), strings.NewReader(""), &out, &words)
	return status, out.String(), words.String()
}

func TestKernelCommands(t *testing.T) {
	testenv.Need(t, testenv.GuestKernel)
	cached, err := store.Open("")
	if err != nil {
		t.Fatal(err)
	}
	from, err := cached.Get(store.GuestPackage)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TANDEM_CACHE", t.TempDir())

	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string // parts
	}{
		{"ls", 0, "NAME", ""},
		{"ls --json", 0, "[]\n", ""},
		{"default", statusFailed, "", "run `tandem kernel pull`"},
		{"import " + from.Image + " --modules " + from.Modules, 0, from.Release + " (" + from.Image + ")\n", "index the modules of " + from.Release + "\n"},
		{"import " + from.Image + " --modules " + from.Modules, statusFailed, "", "there already"},
		{"import --name plain " + from.Image, 0, "plain (", "copy vmlinuz\n"},
		{"import " + os.Args[0], statusFailed, "", os.Args[0]},
		{"import /nonexistent", statusFailed, "", "/nonexistent"},
		{"import", statusFailed, "", "accepts 1 arg"},
		{"ls", 0, "plain *", ""},
		{"default", 0, "plain\n", ""},
		{"default " + from.Release, 0, "", ""},
		{"default", 0, from.Release + "\n", ""},
		{"ls", 0, from.Release + " *", ""},
		{"default nosuch", statusFailed, "", "nosuch"},
		{"rm plain", 0, "removed plain\n", ""},
		{"rm plain", statusFailed, "", "no such kernel"},
		{"rm ../kernels", statusFailed, "", "invalid name"},
		{"rm", statusFailed, "", "at least 1 arg"},
		{"ls surplus", statusFailed, "", "surplus"},
		{"ls --nosuch", statusFailed, "", "--nosuch"},
		{"pull --lab linux-image-x", statusFailed, "", "--lab"},
		{"pull a b", statusFailed, "", "accepts at most 1 arg"},
		{"pull -- --config", statusFailed, "", "invalid name"},
		{"nosuch", statusFailed, "", "nosuch"},
		{"", 0, "pull", ""},
	} {
		status, stdout, stderr := kernelCommand(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("kernel %s: status %d\n%s%swant %d, %q and %q", c.args, status, stdout, stderr, c.status, c.stdout, c.stderr)
		}
	}

	_, stdout, _ := kernelCommand("ls", "--json")
	var kernels []store.Kernel
	if err := json.Unmarshal([]byte(stdout), &kernels); err != nil || len(kernels) != 1 {
		t.Fatalf("kernel ls --json: %v\n%s", err, stdout)
	}
	if k := kernels[0]; k.Name != from.Release || k.Digest != from.Digest || !k.Default || filepath.Base(k.Modules) != from.Release {
		t.Errorf("kernel ls --json: %+v", k)
	}
}
