package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/container"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// invoke runs a command line in this process.
func invoke(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

func TestCommandLineErrors(t *testing.T) {
	root := t.TempDir()
	for _, test := range []struct {
		args  string
		words []string
	}{
		{"nosuch", []string{`"nosuch" is not a command`, "--help"}},
		{"create", []string{"create: the container's ID is missing", "Usage: tandem-oci create"}},
		{"start", []string{"start: the container's ID is missing"}},
		{"state a b", []string{`"b" is one argument too many`, "Usage: tandem-oci state ID"}},
		{"kill a NOSUCH", []string{`signal "NOSUCH"`, "Usage"}},
		{"kill a 65", []string{"signal 65: want 1 to 64"}},
		{"kill a TERM more", []string{`"more" is one argument too many`}},
		{"exec", []string{"the container's ID is missing"}},
		{"exec a", []string{"the command is missing", "--process FILE"}},
		{"list --format yaml", []string{`--format "yaml": want table or json`}},
		{"create --nosuch a", []string{"unknown flag: --nosuch", "Usage: tandem-oci create"}},
		{"create --preserve-fds x a", []string{"--preserve-fds"}},
		{"update --memory 1X a", []string{"--memory", "512M"}},
		{"update --l3-cache-schema L3:0=f a", []string{"does not exist"}},
		{"events --interval 0s a", []string{"--interval 0s"}},
		{"--log-format xml list", []string{`--log-format "xml"`}},
		{"--log-level loud list", []string{`--log-level "loud"`}},
		{"--log /nosuch/dir/log list", []string{"--log: open /nosuch/dir/log"}},
		{"--systemd-cgroup list", []string{"systemd's cgroup driver: not supported", "cgroupfs"}},
		{"--cgroup-manager systemd list", []string{"not supported", "cgroupfs"}},
		{"--rootless maybe list", []string{`--rootless "maybe"`}},
		{"delete --regex ( a", []string{"--regex"}},
		{"checkpoint a", []string{"checkpoint: not supported"}},
	} {
		status, out, errs := invoke(t, append([]string{"--root", root}, strings.Fields(test.args)...)...)
		want := statusFailed
		if strings.HasPrefix(test.args, "exec a ") {
			want = statusExecFailed
		}
		if status != want || out != "" {
			t.Errorf("%s: exit status %d, stdout %q", test.args, status, out)
		}
		for _, words := range test.words {
			if !strings.Contains(errs, words) {
				t.Errorf("%s: stderr %q, want %q", test.args, errs, words)
			}
		}
	}
}

// TestPeersFlags holds that every flag of runc (1.3) and crun is known.
func TestPeersFlags(t *testing.T) {
	flags := map[string]string{
		"":       "debug log log-format log-level root criu systemd-cgroup rootless cgroup-manager version",
		"create": "bundle config console-socket pid-file pidfd-socket no-pivot no-new-keyring no-subreaper preserve-fds",
		"run": "bundle config console-socket pid-file pidfd-socket no-pivot no-new-keyring no-subreaper preserve-fds " +
			"detach keep",
		"exec": "console-socket pidfd-socket cwd env tty user additional-gids process detach pid-file process-label " +
			"apparmor no-new-privs cap preserve-fds cgroup ignore-paused",
		"kill": "all regex", "delete": "force regex", "list": "format quiet", "ps": "format",
		"update": "resources blkio-weight cpu-period cpu-quota cpu-burst cpu-share cpu-rt-period cpu-rt-runtime cpu-idle " +
			"cpuset-cpus cpuset-mems kernel-memory kernel-memory-tcp memory memory-reservation memory-swap pids-limit " +
			"l3-cache-schema mem-bw-schema",
		"events": "interval stats", "spec": "bundle rootless file",
		"start": "", "state": "", "pause": "", "resume": "", "features": "",
	}
	root := newRootCommand(new(global))
	root.InitDefaultVersionFlag()
	for verb, names := range flags {
		cmd := root
		if verb != "" {
			var err error
			if cmd, _, err = root.Find([]string{verb}); err != nil {
				t.Error(err)
				continue
			}
		}
		for _, name := range strings.Fields(names) {
			if cmd.Flags().Lookup(name) == nil && cmd.PersistentFlags().Lookup(name) == nil {
				t.Errorf("%s has no flag --%s", cmd.CommandPath(), name)
			}
		}
	}
}

// TestFeaturesLeaveNothingOpen: what is not there is "unknown" by features.md, and tandem-oci knows of each.
func TestFeaturesLeaveNothingOpen(t *testing.T) {
	open := unknown(reflect.ValueOf(supported()).Elem(), "")
	want := []string{"annotations", "potentiallyUnsafeConfigAnnotations"} // no annotation changes anything
	if !slices.Equal(open, want) {
		t.Errorf("unknown: %q, want %q", open, want)
	}
}

// unknown are the fields that are nil.
func unknown(v reflect.Value, path string) []string {
	var list []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		name = strings.TrimPrefix(path+"."+name, ".")
		switch f := v.Field(i); {
		case f.Kind() == reflect.String:
		case f.IsNil():
			list = append(list, name)
		case f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Struct:
			list = append(list, unknown(f.Elem(), name)...)
		}
	}
	return list
}

func TestFeatures(t *testing.T) {
	status, out, errs := invoke(t, "features")
	var f features.Features
	if err := json.Unmarshal([]byte(out), &f); status != 0 || err != nil {
		t.Fatalf("features = %d, %v, %s", status, err, errs)
	}
	if f.OCIVersionMax != specs.Version || len(f.Hooks) != 6 {
		t.Errorf("features of version %s with hooks %q", f.OCIVersionMax, f.Hooks)
	}
	for _, option := range []string{"ro", "rro", "rbind", "rprivate", "tmpcopyup", "idmap", "nosymfollow"} {
		if !slices.Contains(f.MountOptions, option) {
			t.Errorf("mount options %q have no %s", f.MountOptions, option)
		}
	}
	if len(f.Linux.Namespaces) != 8 || !*f.Linux.Cgroup.V2 ||
		!slices.Contains(f.Linux.Capabilities, "CAP_CHECKPOINT_RESTORE") {
		t.Errorf("features of Linux: %+v", f.Linux)
	}
	// Whether this kernel has them is another matter, see features-linux.md.
	if !*f.Linux.Apparmor.Enabled || !*f.Linux.Selinux.Enabled {
		t.Errorf("features: AppArmor %v, SELinux %v", *f.Linux.Apparmor.Enabled, *f.Linux.Selinux.Enabled)
	}
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	if status, _, errs := invoke(t, "spec", "--bundle", dir); status != 0 {
		t.Fatal(errs)
	}
	s, _, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil || s.Version != specs.Version || s.Process.Args[0] != "sh" || s.Linux.Resources == nil {
		t.Errorf("spec wrote %+v, %v", s, err)
	}
	if status, _, errs := invoke(t, "spec", "--bundle", dir); status != 1 || !strings.Contains(errs, "remove it first") {
		t.Errorf("spec over a file = %d, %q", status, errs)
	}
	if status, _, errs := invoke(t, "spec", "--bundle", dir, "--rootless", "--file", "other.json"); status != 0 {
		t.Fatal(errs)
	}
	s, _, err = readConfig(filepath.Join(dir, "other.json"))
	if err != nil || len(s.Linux.UIDMappings) != 1 || s.Linux.Resources != nil {
		t.Fatalf("spec --rootless wrote %+v, %v", s, err)
	}
	for _, m := range s.Mounts {
		if slices.Contains(m.Options, ttyGroup) || m.Type == "cgroup" {
			t.Errorf("a rootless mount %+v", m)
		}
	}
}

func TestParseUser(t *testing.T) {
	for text, want := range map[string][2]uint32{
		"0": {0, 5}, "1000": {1000, 5}, "1000:100": {1000, 100}, "4294967294:0": {maxID, 0},
	} {
		user := specs.User{GID: 5, Username: "x"}
		if err := parseUser(text, &user); err != nil || user.UID != want[0] || user.GID != want[1] || user.Username != "" {
			t.Errorf("parseUser(%q) = %+v, %v", text, user, err)
		}
	}
	for _, text := range []string{"", ":", "root", "1:", ":1", "-1", "4294967295", "1:2:3", "1 "} {
		if err := parseUser(text, new(specs.User)); err == nil {
			t.Errorf("parseUser(%q) has no error", text)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "65536": 65536, "1k": 1024, "64M": 64 << 20, "2GiB": 2 << 30, "1TB": 1 << 40,
	} {
		var s sizeValue
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("Set(%q) = %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "-2", "x", "1.5G", "9223372036854775808", "8589934592G", "M"} {
		var s sizeValue
		if err := s.Set(text); err == nil {
			t.Errorf("Set(%q) = %d", text, s)
		}
	}
}

func TestSubCgroups(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  map[string]string // nil is an error
	}{
		{nil, map[string]string{}},
		{[]string{"a/b"}, map[string]string{"": "a/b"}},
		{[]string{"cpu,cpuacct:a", "memory:b"}, map[string]string{"cpu": "a", "cpuacct": "a", "memory": "b"}},
		{[]string{"name=systemd:a"}, map[string]string{"name=systemd": "a"}},
		{[]string{"cpu:a", "b"}, nil},
		{[]string{"a", "b"}, nil},
		{[]string{"cpu:a", "cpu:b"}, nil},
		{[]string{"cpu,:a"}, nil},
		{[]string{":a"}, nil},
	} {
		if got, err := subCgroups(test.flags); !maps.Equal(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("subCgroups(%q) = %q, %v", test.flags, got, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	seed, err := json.Marshal(exampleSpec())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"ociVersion":"1.0.2","process":{"args":["a"],"user":{"uid":-1}}}`))
	f.Add([]byte(`{"linux":{"namespaces":[{"type":null}],"resources":{"devices":[{}]}}} x`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := container.ParseConfig(text); err == nil && !json.Valid(text) {
			t.Error("took what is not JSON")
		}
	})
}

func TestWithCapabilities(t *testing.T) {
	had := &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}, Inheritable: []string{}}
	got := withCapabilities(had, []string{"net_raw", "CAP_KILL"})
	want := []string{"CAP_KILL", "CAP_NET_RAW"}
	if !slices.Equal(got.Bounding, want) || len(got.Inheritable)+len(got.Ambient) != 0 {
		t.Errorf("withCapabilities = %+v", got)
	}
	if len(had.Bounding) != 1 {
		t.Error("the container's own configuration was changed")
	}
}

func TestPrintProcesses(t *testing.T) {
	var out strings.Builder
	table := "UID   PID CMD\nroot   10 a b\nroot  100 c\nroot   11 10\n\n"
	const want = "UID   PID CMD\nroot   10 a b\nroot  100 c\n"
	if err := printProcesses(&out, table, []int{10, 100}); err != nil || out.String() != want {
		t.Errorf("printProcesses = %q, %v", out.String(), err)
	}
	if err := printProcesses(&out, "USER CMD\n", nil); err == nil {
		t.Error("a table without PID has no error")
	}
}
