package box

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestParseMount(t *testing.T) {
	for _, test := range []struct {
		parse func(string) (specs.Mount, error)
		text  string
		want  specs.Mount
	}{
		{ParseVolume, "/tmp:/x", specs.Mount{Type: "bind", Source: "/tmp", Destination: "/x", Options: []string{"rbind", "rprivate"}}},
		{ParseVolume, "/tmp/.:/x/:ro,rslave", specs.Mount{Type: "bind", Source: "/tmp", Destination: "/x", Options: []string{"rbind", "ro", "rro", "rslave"}}},
		{ParseMount, "type=bind,source=/tmp,target=/x,readonly", specs.Mount{Type: "bind", Source: "/tmp", Destination: "/x", Options: []string{"rbind", "ro", "rro", "rprivate"}}},
		{ParseMount, `"src=/tmp",dst=/x,readonly=false`, specs.Mount{Type: "bind", Source: "/tmp", Destination: "/x", Options: []string{"rbind", "rprivate"}}},
		{ParseMount, "type=tmpfs,dst=/x,tmpfs-size=1m", specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/x", Options: []string{"nosuid", "nodev", "noexec", "size=1m"}}},
		{ParseTmpfs, "/x:exec,size=1m", specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/x", Options: []string{"nosuid", "nodev", "exec", "size=1m"}}},
	} {
		if got, err := test.parse(test.text); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %+v, %v, want %+v", test.text, got, err, test.want)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]int{"9": 9, "kill": 9, "SIGTERM": 15, "RTMIN+3": 37, "64": 64, "": 0, "0": 0, "65": 0, "-1": 0, "SIGFOO": 0, "RTMIN+40": 0} {
		if got, err := ParseSignal(text); int(got) != want || (err == nil) != (want != 0) {
			t.Errorf("ParseSignal(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

// TestLookupUserIsSafe has a root file system that wants to lead the reader elsewhere, or hold it up.
func TestLookupUserIsSafe(t *testing.T) {
	host := t.TempDir()
	secret := filepath.Join(host, "passwd")
	if err := os.WriteFile(secret, []byte("spy:x:77:77::/:/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		make func(etc string) error
	}{
		{"a link out, absolute", func(etc string) error { return os.Symlink(secret, etc+"/passwd") }},
		{"a link out, relative", func(etc string) error { return os.Symlink("../../passwd", etc+"/passwd") }},
		{"a FIFO", func(etc string) error { return unix.Mkfifo(etc+"/passwd", 0o600) }},
		{"a folder", func(etc string) error { return os.Mkdir(etc+"/passwd", 0o700) }},
		{"far too long", func(etc string) error { return os.WriteFile(etc+"/passwd", make([]byte, maxAccounts+1), 0o600) }},
	} {
		layer := filepath.Join(t.TempDir(), "layer")
		if err := os.MkdirAll(filepath.Join(layer, "etc"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := test.make(filepath.Join(layer, "etc")); err != nil {
			t.Fatal(err)
		}
		if u, err := LookupUser([]string{layer}, "spy", nil); err == nil {
			t.Errorf("%s: user %+v", test.name, u)
		}
	}
	upper, lower := t.TempDir(), t.TempDir()
	for dir, line := range map[string]string{upper: "a:x:1:1::/:", lower: "a:x:2:2::/:\nb:x:3:3::/:"} {
		if err := os.Mkdir(dir+"/etc", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/etc/passwd", []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := LookupUser([]string{upper, lower}, "a", nil); err != nil || u.UID != 1 {
		t.Errorf("a user of two layers: %+v, %v, want the upper one's", u, err)
	}
	if u, err := LookupUser([]string{upper, lower}, "b", nil); err == nil || !strings.Contains(err.Error(), "b") {
		t.Errorf("a user of the file that is covered: %+v, %v", u, err)
	}
}

// TestLogRotates wants the newest part of a long log, whole, in order and in bounds.
func TestLogRotates(t *testing.T) {
	r := &Record{ID: strings.Repeat("0", 2*idBytes), Name: "long", Options: Options{Detach: true}, home: &Home{Run: t.TempDir(), Data: t.TempDir()}}
	if err := os.MkdirAll(r.data(""), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(r.data(logFile))
	if err != nil {
		t.Fatal(err)
	}
	l.size = maxLog // as if it had been written
	l.Copy("stdout", strings.NewReader("first\n"))
	l.size = maxLog + 1
	l.Copy("stderr", strings.NewReader(strings.Repeat("x", maxEntry+1)+"\nlast, without its end"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := r.Logs(t.Context(), LogOptions{Last: -1}, func(e Entry) error {
		got = append(got, e.Stream+" "+e.Text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"stdout first\n", "stderr " + strings.Repeat("x", maxEntry), "stderr x\n", "stderr last, without its end"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("log %.40q, want %.40q", got, want)
	}
	if _, err := os.Stat(r.data(logFile) + older); err != nil {
		t.Errorf("it was not begun anew: %v", err)
	}
}
