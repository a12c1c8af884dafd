package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tandem/container/image/layer"
)

// wantedLayer is a layer that has to be there, unpacked.
type wantedLayer struct {
	key     string
	blob    ocispec.Descriptor
	diffID  digest.Digest
	at      int                    // its place in the image
	parents map[string]layer.Entry // for the folders that it implies
}

// ensureLayers sees to it that layers are unpacked, and gives their records by their places. Those that are missing are
// unpacked at the same time into folders of no name, which get their names when all is on the disk.
func (s *Store) ensureLayers(ctx context.Context, wanted []wantedLayer, records []layerRecord, spent *budget,
	p *progress,
) (err error) {
	fail := func(w wantedLayer, err error) error {
		return fmt.Errorf("layer %d of %d: %w", w.at+1, len(records), err)
	}
	missing, err := s.known(wanted, records, spent, p)
	if err != nil || len(missing) == 0 {
		return err
	}
	// In one order, so that two who want the same layers do not wait for each other. An image may have a layer twice.
	slices.SortFunc(missing, func(a, b wantedLayer) int { return strings.Compare(a.key, b.key) })
	for i, w := range missing {
		if i > 0 && w.key == missing[i-1].key {
			continue
		}
		unlock, err := s.lock(ctx, w.key, unix.LOCK_EX)
		if err != nil {
			return fail(w, err)
		}
		defer unlock()
	}
	if missing, err = s.known(missing, records, spent, p); err != nil { // another process may have done it meanwhile
		return err
	}
	temps := map[string]string{}
	defer func() {
		for _, temp := range temps {
			err = errors.Join(err, s.removeTree(temp))
		}
	}()
	again := slices.Clone(missing)
	missing = slices.CompactFunc(missing, func(a, b wantedLayer) bool { return a.key == b.key })
	for _, w := range missing { // all before the first is unpacked into: what fails now has nobody to wait for
		temp, err := os.MkdirTemp(s.path(layersDir), tempPrefix)
		if err != nil {
			return err
		}
		temps[w.key] = temp
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, w := range missing {
		group.Go(func() error {
			if err := s.unpackLayer(ctx, temps[w.key], w, spent, p); err != nil {
				return fail(w, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(missing) > 0 {
		if err := s.sync(); err != nil { // before a name says that it is whole
			return err
		}
	}
	for _, w := range missing {
		if err := os.Rename(temps[w.key], s.layerPath(w.key)); err != nil {
			return fail(w, err)
		}
		delete(temps, w.key)
	}
	for _, w := range again {
		if records[w.at], err = s.readRecord(w.key, w.diffID); err != nil {
			return fail(w, err)
		}
	}
	return syncDir(s.path(layersDir))
}

// known reads the records of those layers that are unpacked, and gives the others.
func (s *Store) known(wanted []wantedLayer, records []layerRecord, spent *budget, p *progress) (
	missing []wantedLayer, err error,
) {
	for _, w := range wanted {
		r, err := s.readRecord(w.key, w.diffID)
		if errors.Is(err, os.ErrNotExist) {
			missing = append(missing, w)
			continue
		}
		if err == nil {
			err = spent.spend(r.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", w.at+1, len(records), err)
		}
		records[w.at] = r
		p.add(w.blob.Size)
	}
	return missing, nil
}

// unpackLayer unpacks a layer into a folder, with its record.
func (s *Store) unpackLayer(ctx context.Context, dir string, w wantedLayer, spent *budget, p *progress) error {
	result, err := s.unpack(ctx, s.unpackJob(dir, w, spent), spent.spend, p.add)
	if err != nil {
		return err
	}
	return s.writeRecord(dir, w.diffID, result)
}

func (s *Store) unpackJob(dir string, w wantedLayer, spent *budget) unpackJob {
	job := unpackJob{
		Dir: dir, Layer: w.blob, DiffID: w.diffID,
		Limits: s.limits.layer(), Budget: spent.left(), UserXattr: s.user, Squash: s.squash, Parents: w.parents,
	}
	if w.blob.Digest != "" {
		job.Blob = s.blobPath(w.blob.Digest)
	}
	switch {
	case !s.devices:
		job.Devices = layer.RefuseDevices
	case s.user:
		job.Devices = layer.SkipDevices
	}
	return job
}

// writeRecord notes what came of unpacking a layer into a folder.
func (s *Store) writeRecord(dir string, diffID digest.Digest, result layer.Result) error {
	r := layerRecord{
		DiffID: diffID, Entries: result.Entries, Bytes: result.Bytes, Disk: result.Disk, Implied: result.Implied,
		RootOpaque: result.Root.Opaque, UserXattr: s.user, Skipped: result.Skipped, Examples: result.Examples,
	}
	if root := result.Root; !root.Implied {
		r.Root = &RootFolder{Mode: root.Mode, UID: root.UID, GID: root.GID, ModTime: root.ModTime}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, recordFile), append(data, '\n'), 0o600)
}
