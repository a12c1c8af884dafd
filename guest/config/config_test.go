package config

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// full has every key.
func full() *Config {
	return &Config{
		Hostname:      "box-1.example",
		Env:           []string{"A=b", "C=", "D=e=f", "BYTES=\u00e9"},
		Modules:       []Module{{Path: "/lib/a.ko"}, {Path: "/lib/b.ko", Options: "nested=1 avic=0"}},
		BootTimerPort: BootTimerPort,
		Root:          &Root{Tag: "root", Options: "trans=virtio,msize=512000", UpperSize: "50%"},
		Mounts:        []Mount{{Source: "share", Target: "/run/share", Type: "9p", Options: "ro", Optional: true}},
		Agent:         &Agent{Port: VsockPort(1024), OnDisconnect: Stay},
		Console:       &Console{Command: []string{"sh", "-c", ""}, Device: "/dev/ttyS0", Rows: 24, Cols: 80, OnExit: Reboot},
	}
}

func TestRoundTrip(t *testing.T) {
	d := Default()
	for name, c := range map[string]*Config{"full": full(), "zero": {}, "default": &d} {
		text, err := c.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := Parse(text); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: %s reads back as %+v, %v", name, text, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                                      "unexpected EOF",
		`{`:                                     "unexpected EOF",
		`{"hostname":`:                          "unexpected EOF",
		`{"hostname": "a"} {}`:                  "after the end",
		`{"hostname": "a"} x`:                   "after the end",
		`null null`:                             "after the end",
		`[]`:                                    "cannot unmarshal array",
		`{"hostnam": "a"}`:                      `unknown field "hostnam"`,
		`{"Hostname": "a"}`:                     `unknown key "Hostname"`,
		`{"agent": {"Port": "x"}}`:              `unknown key "agent.Port"`,
		`{"modules": [{"path2": "/x"}]}`:        `unknown key "modules[0].path2"`,
		`{"hostname": "a", "hostname": 1}`:      `key "hostname" given twice`,
		`{"agent": {"port": "a", "port": "b"}}`: `key "agent.port" given twice`,
		`{"hostname": 1}`:                       "hostname of type string",
		`{"boot_timer_port": 65536}`:            "65536",
		`{"boot_timer_port": -1}`:               "-1",
		`{"hostname": "a b"}`:                   `hostname: "a b" holds ' '`,
		`{"hostname": "` + strings.Repeat("a", 65) + `"}`: "longer than 64",
		`{"env": ["A"]}`:                                 `env[0]: "A" is not KEY=VALUE`,
		`{"env": ["A=1", "=x"]}`:                         `env[1]: "=x" is not KEY=VALUE`,
		`{"env": ["A=\u0000"]}`:                          "env[0]: \"A=\\x00\" holds a zero byte",
		`{"modules": [{}]}`:                              `modules[0].path: "" is not an absolute path`,
		`{"modules": [{"path": "a.ko"}]}`:                `modules[0].path: "a.ko" is not an absolute path`,
		`{"root": {}}`:                                   `root.tag: "" is empty`,
		`{"root": {"tag": "x", "upper_size": "1,x"}}`:    `root.upper_size: "1,x" holds a comma`,
		`{"mounts": [{"source": "a", "type": "b"}]}`:     `mounts[0].target: "" is not an absolute path`,
		`{"mounts": [{"source": "a", "target": "/b"}]}`:  `mounts[0].type: "" is empty`,
		`{"mounts": [{"target": "/b", "type": "c"}]}`:    `mounts[0].source: "" is empty`,
		`{"agent": {}}`:                                  `agent.port: "" is empty`,
		`{"agent": {"port": "dev/ttyS1"}}`:               `agent.port: "dev/ttyS1" is not an absolute path`,
		`{"agent": {"port": "vsock:x"}}`:                 `agent.port: "vsock:x" has no port of 32 bits behind vsock:`,
		`{"agent": {"port": "a", "on_disconnect": "x"}}`: "agent.on_disconnect: x is none of poweroff, reboot, stay",
		`{"console": {}}`:                                "console.command: [] names no program",
		`{"console": {"command": [""]}}`:                 `console.command[0]: "" is empty`,
		`{"console": {"command": ["a"], "device": "b"}}`: `console.device: "b" is not an absolute path`,
		`{"console": {"command": ["a"], "rows": 65536}}`: "65536",
		strings.Repeat(" ", MaxSize) + "{}":              "at most",
		strings.Repeat("[", 100000):                      "[0][0][0]: nested too deep",
	} {
		_, err := Parse([]byte(text))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.80s) = %v, want %q", text, err, want)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	if _, err := (&Config{Env: []string{"A"}}).Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("Encode = %v, want %v", err, ErrInvalid)
	}
	if _, err := (&Config{Env: []string{"A=" + strings.Repeat("x", MaxSize)}}).Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("Encode = %v, want %v", err, ErrInvalid)
	}
	if _, err := (&Config{Modules: make([]Module, maxList+1)}).Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("Encode = %v, want %v", err, ErrInvalid)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "init.json")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of no file = %v, want %v", err, fs.ErrNotExist)
	}
	for text, good := range map[string]bool{
		`{"hostname": "a"}`:                 true,
		`{"hostname": "a"`:                  false,
		`{}` + strings.Repeat(" ", MaxSize): false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if c, err := Read(path); (err == nil) != good || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("Read of %.30q = %+v, %v", text, c, err)
		}
	}
}

func TestModulesAt(t *testing.T) {
	if got, want := ModulesAt("/a", "/b"), []Module{{Path: "/a"}, {Path: "/b"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("ModulesAt = %v, want %v", got, want)
	}
}

// FuzzParse holds that what is read is valid and survives another round.
func FuzzParse(f *testing.F) {
	for _, c := range []*Config{full(), {}} {
		text, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"env": ["A=1"], "console": {"command": ["sh"]}} `))
	f.Add([]byte(`{"mounts": [{"source": "a", "target": "/b", "type": "c"}], "mounts": null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("Parse = %v, want %v", err, ErrInvalid)
			}
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		d, err := Parse(again)
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		third, err := d.Encode()
		if err != nil || string(third) != string(again) {
			t.Errorf("%s and %s, %v", again, third, err)
		}
	})
}
