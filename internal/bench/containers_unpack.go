package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxUnpacks bounds the turns: each writes the whole image once for every peer.
const maxUnpacks = 7

// imageStore is a command that keeps images, with a folder for them that is made anew for each measurement.
type imageStore struct {
	name, path string
	root       string
	// load gives the arguments that add the image in an archive to an empty store.
	load func(root, archive string) []string
	env  func(root string) []string
}

func findStores(o options, dir string) (found []imageStore, missing []string) {
	found = []imageStore{{
		name: "tandem image import", path: o.tandem, root: filepath.Join(dir, "images-tandem"),
		load: func(_, archive string) []string { return []string{"image", "import", archive} },
		env: func(root string) []string {
			return []string{"TANDEM_ROOT=" + filepath.Join(root, "root"), "TANDEM_RUN=" + filepath.Join(root, "run")}
		},
	}}
	path, err := exec.LookPath("podman")
	if err != nil {
		return found, []string{"podman: " + err.Error() + " (Debian's podman)"}
	}
	return append(found, imageStore{
		name: "podman load", path: path, root: filepath.Join(dir, "images-podman"),
		load: func(root, archive string) []string {
			return []string{
				"--root", filepath.Join(root, "root"), "--runroot", filepath.Join(root, "run"),
				"--tmpdir", filepath.Join(root, "tmp"), "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs",
				"--events-backend", "none", "load", "--quiet", "--input", archive,
			}
		},
		// The folder of large temporary files: what is measured is on one file system.
		env: func(root string) []string { return []string{"TMPDIR=" + root} },
	}), nil
}

// benchUnpack measures how long an image takes from its archive to layers that can be mounted, in a store that has none.
func benchUnpack(ctx context.Context, o options, dir string) ([]table, error) {
	archives, err := writeArchives(dir)
	if err != nil {
		return nil, fmt.Errorf("make an image to unpack: %w", err)
	}
	stores, missing := findStores(o, dir)
	var tables []table
	for _, a := range archives {
		results, err := compareStores(ctx, stores, a.path, min(o.runs, maxUnpacks))
		if err != nil {
			return nil, err
		}
		title := fmt.Sprintf("add an image of %d layers, %d files and %d MiB from %s, and unpack it",
			imageLayers, imageLayers*layerFiles, a.size>>20, a.kind)
		tables = append(tables, times(title, "podman's", results))
	}
	tables[0].Notes = append(missing, "tandem's time is until all is on the disk, by syncfs(2)")
	return tables, nil
}

func compareStores(ctx context.Context, stores []imageStore, archive string, runs int) ([]result, error) {
	runtimes := make([]ociRuntime, len(stores))
	byName := make(map[string]imageStore)
	for i, s := range stores {
		runtimes[i], byName[s.name] = ociRuntime{name: s.name}, s
	}
	b := &containerBench{ctx: ctx, runtimes: runtimes, runs: runs}
	results := b.compare(runs, func(ctx context.Context, r ociRuntime) (reading, error) {
		s := byName[r.name]
		if err := s.clear(); err != nil {
			return reading{}, err
		}
		defer s.clear() // or the next turn's clear tells
		return b.timed(func(ctx context.Context, _ ociRuntime) error { return s.add(ctx, archive) })(ctx, r)
	})
	return results, results[0].err
}

// clear takes all images away, and waits until the disk has nothing left to do for them.
func (s imageStore) clear() error {
	// podman mounts its storage onto itself, so that no mount in it is seen elsewhere.
	err := unix.Unmount(filepath.Join(s.root, "root", "overlay"), 0)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // it is no mount
		return fmt.Errorf("unmount the storage of %s: %w", s.name, err)
	}
	if err := os.RemoveAll(s.root); err != nil {
		return err
	}
	top, err := os.Open(filepath.Dir(s.root))
	if err != nil {
		return err
	}
	defer top.Close()
	return unix.Syncfs(int(top.Fd()))
}

func (s imageStore) add(ctx context.Context, archive string) error {
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.path, s.load(s.root, archive)...)
	cmd.Env = append(os.Environ(), s.env(s.root)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", s.name, err, tail(said.String()))
	}
	return nil
}
