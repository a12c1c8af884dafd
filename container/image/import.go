package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/container/image/compress"
)

// ImportOptions are what an archive does not tell. The zero value is good.
type ImportOptions struct {
	Name     string              // for the image; empty leaves it with the names in the archive, if there are any
	Kind     Kind                // of the archive; empty is what it looks like
	Platform *ocispec.Platform   // which one of an index, or what a root file system is for; nil is this machine's
	Config   ocispec.ImageConfig // of an image made from a root file system
	Comment  string              // for the history of an image made from a root file system
	Size     int64               // of what is read, if it is known, to show progress
	Progress Progress            // may be nil
}

// Import adds what r reads: a docker archive, an OCI archive or the tar archive of a root file system, compressed or
// not; which of them it is, it sees by itself. It gives the images that it added. When ctx is done it does not wait for
// r, which may be read from until its Read returns.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) ([]Image, error) {
	images, err := s.importFrom(ctx, o, func(p *progress) ([]found, error) {
		p.begin("read", o.Size)
		return s.readArchive(ctx, &progressReader{&pipeReader{ctx: ctx, r: r}, p.add}, o)
	})
	if err != nil {
		return nil, fmt.Errorf("image: import: %w", err)
	}
	return images, nil
}

// ImportPath is [Store.Import] for a file, or for a folder that holds an OCI layout.
func (s *Store) ImportPath(ctx context.Context, path string, o ImportOptions) ([]Image, error) {
	images, err := s.importPath(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("image: import %s: %w", path, err)
	}
	return images, nil
}

func (s *Store) importPath(ctx context.Context, path string, o ImportOptions) ([]Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return s.importFrom(ctx, o, func(p *progress) ([]found, error) { return s.readLayout(ctx, path, o, p) })
	}
	if st.Mode().IsRegular() && o.Size == 0 {
		o.Size = st.Size()
	}
	if o.Comment == "" {
		o.Comment = "imported from " + path
	}
	return s.importFrom(ctx, o, func(p *progress) ([]found, error) {
		p.begin("read", o.Size)
		return s.readArchive(ctx, &progressReader{&pipeReader{ctx: ctx, r: f}, p.add}, o)
	})
}

// found is an image whose content is in the store, though the index does not know of it yet.
type found struct {
	descriptor ocispec.Descriptor // of the manifest
	names      []string           // in full
	source     string             // digest of the index that it was chosen from
}

// importFrom takes in what read finds: checks it, unpacks it, and gives it names.
func (s *Store) importFrom(ctx context.Context, o ImportOptions, read func(*progress) ([]found, error)) (
	[]Image, error,
) {
	var name string
	if o.Name != "" {
		r, err := parseReference(o.Name)
		if err != nil {
			return nil, err
		}
		if r.Digest != "" {
			return nil, fmt.Errorf("%q: %w: a digest is no name that can be given", o.Name, ErrReference)
		}
		name = r.String()
	}
	p := newProgress(o.Progress)
	images, err := s.takeIn(ctx, name, p, read)
	if err != nil {
		// What came before the error is nobody's, unless somebody else is adding to the store too.
		if _, e := s.collect(); e != nil && !errors.Is(e, errLocked) {
			err = errors.Join(err, e)
		}
	}
	return images, err
}

func (s *Store) takeIn(ctx context.Context, name string, p *progress, read func(*progress) ([]found, error)) (
	[]Image, error,
) {
	unlock, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := read(p)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no image is in it: %w", ErrFormat)
	}
	if name != "" {
		if len(all) > 1 {
			return nil, fmt.Errorf("%d images are in it, so that one name will not do: %w", len(all), ErrAmbiguous)
		}
		all[0].names = []string{name}
	}
	return s.finishImport(ctx, all, p)
}

// finishImport unpacks images whose blobs are in the store, and then puts them into the index, all at once.
func (s *Store) finishImport(ctx context.Context, all []found, p *progress) ([]Image, error) {
	files := make([]*imageFiles, len(all))
	for i, found := range all {
		var err error
		if files[i], err = s.load(found.descriptor); err != nil {
			return nil, err
		}
		p.begin("unpack", files[i].layerBytes())
		if _, err := s.ensure(ctx, files[i], p); err != nil {
			return nil, err
		}
	}
	// An index must not name what a crash could still take away.
	if err := s.syncBlobs(); err != nil {
		return nil, err
	}
	now := time.Now()
	err := s.changeIndex(func(index *ocispec.Index) error {
		for i, found := range all {
			d := found.descriptor
			d.Platform = &files[i].config.Platform
			if len(found.names) == 0 {
				addToIndex(index, d, "", found.source, now)
			}
			for _, name := range found.names {
				addToIndex(index, d, name, found.source, now)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, found := range all {
		image, err := s.Resolve(found.descriptor.Digest.String())
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// readArchive finds out what an archive is, and reads it.
func (s *Store) readArchive(ctx context.Context, r io.Reader, o ImportOptions) ([]found, error) {
	in := bufio.NewReaderSize(r, HeadSize)
	head, err := in.Peek(HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	kind, format, err := recognise(head)
	if err != nil {
		return nil, err
	}
	if o.Kind != "" {
		kind = o.Kind
	}
	if kind == RootFS {
		return s.readRootFS(ctx, in, format, o)
	}
	plain, _, err := compress.NewReader(in)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return s.readImages(ctx, plain, o)
}
