package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tandem/container/image/layer"
)

// Errors that callers tell apart.
var (
	ErrNotFound  = errors.New("no such image")
	ErrAmbiguous = errors.New("more than one image is meant")
	ErrReference = errors.New("invalid image reference")
	ErrInUse     = errors.New("image is in use")
	ErrFormat    = errors.New("not a container image")               // what was read is none, or is broken
	ErrDigest    = errors.New("content is not what its digest says") // of a blob, manifest or layer
	ErrTooLarge  = layer.ErrTooLarge                                 // see [Limits]
	ErrMissing   = errors.New("content is missing")                  // of an image that the store has the manifest of
)

// Limits keep an image from filling the disk: a few kilobytes of gzip unpack to gigabytes. Zero is the default.
type Limits struct {
	LayerBytes int64 // of one layer, unpacked; holes count in full. 16 GiB
	ImageBytes int64 // of all layers of an image, unpacked. 64 GiB
	BlobBytes  int64 // of one blob as it is stored. 16 GiB
	Entries    int   // files, folders and links of one layer. 1 million
	Layers     int   // of one image. 500, as many as the kernel's overlay stacks (OVL_MAX_STACK)
}

func (l Limits) orDefaults() Limits {
	for _, d := range []struct {
		value  *int64
		normal int64
	}{{&l.LayerBytes, 16 << 30}, {&l.ImageBytes, 64 << 30}, {&l.BlobBytes, 16 << 30}} {
		if *d.value == 0 {
			*d.value = d.normal
		}
	}
	if l.Entries == 0 {
		l.Entries = 1_000_000
	}
	if l.Layers == 0 {
		l.Layers = 500
	}
	return l
}

func (l Limits) layer() layer.Limits { return layer.Limits{Bytes: l.LayerBytes, Entries: l.Entries} }

// A Store is a folder of images. All of its methods may be called at the same time, by any number of processes.
type Store struct {
	dir     string
	limits  Limits
	devices bool
	unpack  unpackFunc
	helper  *helper // unpacks for who cannot, or nil
	user    bool    // layers are for overlayfs's option userxattr
	squash  bool    // all files are the user's, who has no other IDs

	written atomic.Int64 // blobs, by this Store
	synced  atomic.Int64 // how many of them are on the disk for sure
}

// An Option changes how a store works.
type Option func(*Store)

// WithLimits sets other limits than the default ones.
func WithLimits(l Limits) Option { return func(s *Store) { s.limits = l.orDefaults() } }

// WithoutDevices refuses layers that hold device nodes.
func WithoutDevices() Option { return func(s *Store) { s.devices = false } }

// Open gives the store in the folder "images" of root, and makes it if it is not there. An empty root is
// [DefaultRoot].
func Open(root string, options ...Option) (*Store, error) {
	if root == "" {
		var err error
		if root, err = DefaultRoot(); err != nil {
			return nil, err
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("image: open store: %w", err)
	}
	s := &Store{dir: filepath.Join(root, "images"), limits: Limits{}.orDefaults(), devices: true}
	for _, option := range options {
		option(s)
	}
	if err := s.findRights(); err != nil {
		return nil, fmt.Errorf("image: open store: %w", err)
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("image: open store: %w", err)
	}
	return s, nil
}

// DefaultRoot is where tandem keeps what it cannot make again: $TANDEM_ROOT, or /var/lib/tandem for root, or "tandem"
// in the user's $XDG_DATA_HOME.
func DefaultRoot() (string, error) {
	if root := os.Getenv("TANDEM_ROOT"); root != "" {
		return root, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/tandem", nil
	}
	// The XDG base directory specification has relative paths ignored.
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "tandem"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("image: find a place for images: %w (TANDEM_ROOT names one)", err)
	}
	return filepath.Join(home, ".local/share/tandem"), nil
}

// The folders and files of a store. The first three are the OCI image layout's (image-layout.md).
const (
	layoutFile = ocispec.ImageLayoutFile
	indexFile  = ocispec.ImageIndexFile
	blobsDir   = ocispec.ImageBlobsDir

	layersDir = "layers"
	leasesDir = "leases"
	locksDir  = "locks"
	tempDir   = "tmp" // of blobs and files until they are whole
)

// prepare makes what is missing of the store.
func (s *Store) prepare() error {
	// Nobody else may have a way to the layers: they hold set-user-ID programs that anybody may have made
	// (CVE-2021-41091 was Docker's folder with mode 0711).
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if st, err := os.Stat(s.dir); err != nil || st.Mode().Perm()&0o077 != 0 {
		if err = errors.Join(err, os.Chmod(s.dir, 0o700)); err != nil {
			return err
		}
	}
	for _, dir := range []string{blobsDir, layersDir, leasesDir, locksDir, tempDir} {
		if err := os.Mkdir(s.path(dir), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if _, err := os.Stat(s.path(layoutFile)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	unlock, err := s.lock(context.Background(), indexLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	return s.writeFile(layoutFile, layoutText())
}

func layoutText() []byte {
	return fmt.Appendf(nil, `{"imageLayoutVersion":%q}`, ocispec.ImageLayoutVersion)
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// Dir is the store's folder, an OCI image layout with unpacked layers beside.
func (s *Store) Dir() string { return s.dir }

// UserXattr tells whether the layers' whiteouts and opaque folders are marked by user.overlay.* attributes, as an
// unprivileged user's have to be: such layers are mounted with overlayfs's option userxattr, others without.
func (s *Store) UserXattr() bool { return s.user }
