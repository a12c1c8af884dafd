package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestChangeConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	const before = `{"process":{"terminal":true,"cwd":"/"},"linux":{"resources":{}}}`
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := changeConfig(path, 1<<20, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if p := s.Process; p.Terminal || len(p.Args) != 2 || p.Cwd != "/" || *s.Linux.Resources.Memory.Limit != 1<<20 {
		t.Errorf("changeConfig made %s", text)
	}
	if err := os.WriteFile(path, []byte(`{"process":7}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := changeConfig(path, 0, nil); err == nil {
		t.Error("a configuration without a process has no error")
	}
}
