package machine

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/process"
	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestRegistry(t *testing.T) {
	r := Registry{Folder: filepath.Join(t.TempDir(), "vms")}
	if list, err := r.List(); err != nil || len(list) != 0 {
		t.Errorf("an empty registry lists %v, %v", list, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /echo", func(w http.ResponseWriter, q *http.Request) {
		var v map[string]int
		if err := json.NewDecoder(q.Body).Decode(&v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		v["seen"] = 1
		json.NewEncoder(w).Encode(v)
	})
	e, err := r.Register(Record{Name: "a", CPUs: 3}, mux)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(Record{Name: "a"}, mux); !errors.Is(err, ErrTaken) {
		t.Errorf("the name was taken twice: %v", err)
	}
	list, err := r.List()
	if err != nil || len(list) != 1 || list[0].CPUs != 3 || list[0].Process.PID != os.Getpid() {
		t.Errorf("List gave %+v, %v", list, err)
	}
	var out map[string]int
	if err := r.Call(context.Background(), "a", "PUT", "/echo", map[string]int{"x": 7}, &out); err != nil || out["x"] != 7 || out["seen"] != 1 {
		t.Errorf("Call gave %v, %v", out, err)
	}
	if err := r.Call(context.Background(), "a", "PUT", "/echo", "no map", nil); err == nil || !strings.Contains(err.Error(), "cannot unmarshal") {
		t.Errorf("a refusal came as %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Find("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Find after Close: %v", err)
	}
	if left, _ := os.ReadDir(r.Folder); len(left) != 1 || left[0].Name() != ".lock" {
		t.Errorf("left: %v", left)
	}
}

// TestKilled: a folder whose process is gone is nobody's.
func TestKilled(t *testing.T) {
	r := Registry{Folder: t.TempDir()}
	leave := func(name string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(r.Folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(Record{Name: name, Process: process.ID{PID: os.Getpid(), Start: 1}})
		if err := os.WriteFile(filepath.Join(r.Folder, name, recordFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave("dead")
	if list, err := r.List(); err != nil || len(list) != 0 {
		t.Errorf("List gave %v, %v", list, err)
	}
	if dead, err := r.Collect(true); err != nil || len(dead) != 1 {
		t.Errorf("Collect would remove %v, %v", dead, err)
	}
	e, err := r.Register(Record{Name: "dead"}, http.NewServeMux())
	if err != nil {
		t.Fatal(err)
	}
	leave("dead2")
	if dead, err := r.Collect(false); err != nil || len(dead) != 1 || dead[0] != "dead2" {
		t.Errorf("Collect removed %v, %v", dead, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "-a", strings.Repeat("a", 65), "a b", "ä"} {
		if CheckName(name) == nil {
			t.Errorf("CheckName took %q", name)
		}
	}
	for _, name := range []string{"a", "vm-4711", "A.b_c-9"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
}
