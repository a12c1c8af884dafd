package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMakeLayer has the same layer each time, and one that compresses as files do.
func TestMakeLayer(t *testing.T) {
	first, err := makeLayer(1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := makeLayer(1)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the layer is another one the second time: %v", err)
	}
	other, err := makeLayer(2)
	if err != nil || bytes.Equal(first, other) {
		t.Errorf("two layers are the same: %v", err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(first); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if share := float64(packed.Len()) / float64(len(first)); share < 0.2 || share > 0.5 {
		t.Errorf("it compresses to %.2f of its size, want about a third", share)
	}
}

// TestCompareStores gives each turn a store that is empty, and keeps the error of a peer.
func TestCompareStores(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "archive")
	if err := os.WriteFile(archive, []byte("an image"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := func(text string) func(string, string) []string {
		return func(root, archive string) []string { return []string{"-ec", text, "sh", root, archive} }
	}
	stores := []imageStore{
		{name: "good", path: "/bin/sh", root: filepath.Join(dir, "good"), load: script(`mkdir "$1/images"; cp "$2" "$1/images"; test "$WORD" = x`)},
		{name: "bad", path: "/bin/sh", root: filepath.Join(dir, "bad"), load: script(`echo no such thing >&2; false`)},
	}
	for i := range stores {
		stores[i].env = func(string) []string { return []string{"WORD=x"} }
	}
	const runs = 3
	results, err := compareStores(context.Background(), stores, archive, runs)
	if err != nil || len(results[0].readings) != runs {
		t.Errorf("%d readings, %v, want %d", len(results[0].readings), err, runs)
	}
	if err := results[1].err; err == nil || !strings.Contains(err.Error(), "no such thing") || len(results[1].readings) != 0 {
		t.Errorf("a peer that fails has %d readings, %v", len(results[1].readings), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	stores[0], stores[1] = stores[1], stores[0]
	if _, err := compareStores(context.Background(), stores, archive, runs); err == nil {
		t.Error("that the first one fails is no error")
	}
}
