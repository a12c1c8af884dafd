package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container/seccomp"
)

// configs are configurations as podman, containerd and the runtimes themselves write them, by the names of their files.
func configs(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/configs/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	found := make(map[string][]byte)
	for _, path := range paths {
		if found[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// checkQuick reads a text in both ways.
func checkQuick(t *testing.T, text []byte) (quick bool) {
	t.Helper()
	got, ok := quickConfig(text)
	if !ok {
		return false
	}
	want := new(specs.Spec)
	if err := json.Unmarshal(text, want); err != nil {
		t.Errorf("%s\nwas read, and encoding/json says %v", text, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nwas read as %+v, want %+v", text, got, want)
	}
	return true
}

// What callers write needs no encoding/json, in whatever way it is laid out. Half of it is none.
func TestQuickConfigReadsWhatCallersWrite(t *testing.T) {
	for path, text := range configs(t) {
		if !checkQuick(t, text) {
			t.Errorf("%s is left to encoding/json", path)
		}
		var config any
		if err := json.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		indented, err := json.MarshalIndent(config, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if !checkQuick(t, indented) {
			t.Errorf("%s, laid out anew, is left to encoding/json", path)
		}
		if got, ok := quickConfig(text[:len(text)/2]); ok {
			t.Errorf("half of %s is read as %+v", path, got)
		}
	}
}

// Every field is read, but for those that few configurations have.
func TestQuickConfigIsDeep(t *testing.T) {
	full := new(specs.Spec)
	for _, part := range []any{&full.Process, &full.Root, &full.Mounts, &full.Hooks, &full.Linux} {
		fill(t, reflect.ValueOf(part).Elem())
	}
	full.Version, full.Hostname, full.Domainname, full.Annotations = "v", "h", "d", map[string]string{"a": "b"}
	p, l := full.Process, full.Linux
	p.CommandLine, p.Scheduler, p.IOPriority, p.ExecCPUAffinity = "", nil, nil, nil
	l.NetDevices, l.IntelRdt, l.MemoryPolicy, l.Personality, l.TimeOffsets = nil, nil, nil, nil, nil
	l.Resources.Network, l.Resources.Rdma = nil, nil
	l.Seccomp.Syscalls[0].Names = []string{} // or it is null
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if !checkQuick(t, text) {
		t.Errorf("%s\nis left to encoding/json", text)
	}
}

// The default filter is the longest part of a configuration that has it.
func TestQuickConfigReadsFilters(t *testing.T) {
	filter, err := seccomp.Default(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(&specs.Spec{Linux: &specs.Linux{Seccomp: filter, Resources: &specs.LinuxResources{}}})
	if err != nil {
		t.Fatal(err)
	}
	if !checkQuick(t, text) {
		t.Errorf("%s\nis left to encoding/json", text)
	}
}

func FuzzQuickConfig(f *testing.F) {
	for _, text := range configs(f) {
		if len(text) < 4<<10 { // the fuzzer takes its time with longer ones
			f.Add(text)
		}
	}
	for _, text := range []string{
		`{"linux":{"uidMappings":[{"hostID":1}],"uidMappings":[{"size":2}]},"linux":{"sysctl":{}}}`,
		`{"process":{"user":{"additionalGids":[1]},"user":{"uid":2,"Uid":3}},"PROCESS":{"cwd":"/"}}`,
		`{"ociVersion":"1.0.2","root":null,"windows":{},"mounts":[null]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkQuick(t, text) })
}
