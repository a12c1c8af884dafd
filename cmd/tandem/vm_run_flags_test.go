package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseDisk(t *testing.T) {
	for _, test := range []struct {
		text string
		want disk
	}{
		{"/a.img", disk{Path: "/a.img"}},
		{"/a.img,ro", disk{Path: "/a.img", ReadOnly: true}},
		{"/a.img,ro,rw", disk{Path: "/a.img"}},
		{"/dev/sda,serial=x=1,queues=4", disk{Path: "/dev/sda", Serial: "x=1", Queues: 4}},
	} {
		if got, err := parseDisk(test.text); err != nil || got != test.want {
			t.Errorf("parseDisk(%q) = %+v, %v, want %+v", test.text, got, err, test.want)
		}
	}
	if got, err := parseDisk("a.img"); err != nil || !filepath.IsAbs(got.Path) {
		t.Errorf("parseDisk of a relative path = %+v, %v, want an absolute one", got, err)
	}
	for _, text := range []string{"", ",ro", "a,rx", "a,queues=0", "a,queues=x", "a,serial=", "a,,"} {
		if got, err := parseDisk(text); err == nil || !strings.Contains(err.Error(), "--disk") {
			t.Errorf("parseDisk(%q) = %+v, %v, want an error that names the flag", text, got, err)
		}
	}
}

func TestParseAdd(t *testing.T) {
	for _, test := range []struct {
		text string
		want addition
	}{
		{"tool", addition{"tool", "/tool"}},
		{"/usr/bin/tool", addition{"/usr/bin/tool", "/tool"}},
		{"../data:/srv/data/", addition{"../data", "/srv/data"}},
	} {
		if got, err := parseAdd(test.text); err != nil || got != test.want {
			t.Errorf("parseAdd(%q) = %v, %v, want %v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"", ":/a", "a:b", "a:", "a:/"} {
		if got, err := parseAdd(text); err == nil {
			t.Errorf("parseAdd(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseEnv(t *testing.T) {
	t.Setenv("TANDEM_TEST_SET", "here")
	os.Unsetenv("TANDEM_TEST_UNSET")
	got, err := parseEnv([]string{"A=1", "B=", "TANDEM_TEST_SET", "TANDEM_TEST_UNSET"})
	if want := []string{"A=1", "B=", "TANDEM_TEST_SET=here"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("parseEnv = %q, %v, want %q", got, err, want)
	}
	if _, err := parseEnv([]string{"=1"}); err == nil {
		t.Error("parseEnv takes =1")
	}
}

// tandem runs a command line in this process.
func tandem(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

// TestBadCommandLines wants each mistake told in words that name it, and nothing on standard output.
func TestBadCommandLines(t *testing.T) {
	t.Setenv("TANDEM_CACHE", t.TempDir())
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, bytes.Repeat([]byte("junk"), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		want []string
	}{
		{"frobnicate", []string{`"frobnicate"`, "tandem --help"}},
		{"vm frobnicate", []string{`"frobnicate"`, "tandem vm --help"}},
		{"vm run --frobnicate", []string{"--frobnicate", "tandem vm run --help"}},
		{"vm run --memory 1X", []string{"1X", "--memory", "512M"}},
		{"vm run --cpus many", []string{"many", "--cpus"}},
		{"vm run --transport isa", []string{"isa", "--transport", "pci, mmio"}},
		{"vm run --protocol bios", []string{"bios", "--protocol", "linux64"}},
		{"vm run --accel tcg", []string{"tcg", "--accel", "auto, kvm, lab"}},
		{"vm run --hugepages 3M", []string{"3M", "--hugepages"}},
		{"vm run --timeout -1s", []string{"-1s", "--timeout"}},
		{"vm run --trace everything", []string{"everything", "--trace", "kvm, exits, bus, virtio"}},
		{"vm run --trace-file x", []string{"--trace-file", "--trace "}},
		{"vm run --tty", []string{"--tty"}},
		{"vm run --initrd x --add y -- true", []string{"--initrd", "--add", "a command"}},
		{"vm run --disk x,rx -- true", []string{"--disk", `"rx"`}},
		{"vm run --disk /no/such -- true", []string{"--disk", "/no/such", "no such file"}},
		{"vm run --disk /tmp -- true", []string{"--disk", "/tmp", "neither a file nor a block device"}},
		{"vm run --disk /dev/null -- true", []string{"--disk", "/dev/null", "neither a file nor a block device"}},
		{"vm run --kernel /no/such", []string{"--kernel", "/no/such", "no such file"}},
		{"vm run --kernel nosuch", []string{"--kernel", "nosuch", "tandem kernel ls"}},
		{"vm run --kernel " + junk + " --initrd none --accel kvm", []string{junk, "not a kernel"}},
		{"vm run --kernel " + junk + " --initrd " + junk, []string{"--initrd", "not an initramfs"}},
		{"vm run --kernel nosuch --modules /lib", []string{"--modules"}},
		{"vm run --kernel " + junk + " --name a/b -- true", []string{"--name", "a/b"}},
		{"vm run --kernel " + junk + " --env =x -- true", []string{"--env", "=x"}},
		{"vm run --kernel " + junk + " --add /no/such -- true", []string{"--add", "/no/such"}},
		{"explain vm run --kernel " + junk + " --initrd none", []string{junk, "not a kernel"}},
		{"version now", []string{"now"}},
	} {
		status, stdout, stderr := tandem(t, strings.Fields(test.args)...)
		if status != statusFailed || stdout != "" {
			t.Errorf("tandem %s: status %d, stdout %q, want %d and nothing", test.args, status, stdout, statusFailed)
		}
		if !strings.HasPrefix(stderr, "tandem: ") {
			t.Errorf("tandem %s: stderr %q does not begin with the program's name", test.args, stderr)
		}
		for _, want := range test.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("tandem %s: stderr %q lacks %q", test.args, stderr, want)
			}
		}
	}
}

func TestHelp(t *testing.T) {
	for args, want := range map[string]string{
		"":                  "explain",
		"vm":                "run",
		"vm run --help":     "120  reboot",
		"explain vm --help": "run",
	} {
		status, stdout, stderr := tandem(t, strings.Fields(args)...)
		if status != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("tandem %s: status %d, stderr %q, want help with %q:\n%s", args, status, stderr, want, stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	if status, stdout, _ := tandem(t, "version", "--json"); status != 0 || !strings.Contains(stdout, `"version": "`) {
		t.Errorf("tandem version --json: status %d, stdout %q", status, stdout)
	}
}

var _ io.Writer = (*tailBuffer)(nil)

func TestTailBuffer(t *testing.T) {
	var none *tailBuffer
	if got := none.String(); got != "" {
		t.Errorf("nil tail = %q", got)
	}
	var small tailBuffer
	io.WriteString(&small, "one\r\ntwo\r\n")
	if got, want := small.String(), "one\ntwo\n"; got != want {
		t.Errorf("tail = %q, want %q", got, want)
	}
	var large tailBuffer
	for range tailSize {
		io.WriteString(&large, "line of some length\r\n")
	}
	got := large.String()
	if len(got) > tailSize || strings.Trim(strings.ReplaceAll(got, "line of some length\n", ""), "\n") != "" {
		t.Errorf("tail of much is %d bytes and not whole lines: %.60q", len(got), got)
	}
}
