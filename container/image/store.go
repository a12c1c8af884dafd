package image

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Errors that callers tell apart.
var (
	ErrNotFound  = errors.New("no such image")
	ErrAmbiguous = errors.New("more than one image is meant")
	ErrReference = errors.New("invalid image reference")
	ErrInUse     = errors.New("image is in use")
	ErrFormat    = errors.New("not a container image")               // what was read is none, or is broken
	ErrDigest    = errors.New("content is not what its digest says") // of a blob, manifest or layer
	ErrTooLarge  = errors.New("larger than allowed")                 // see [Limits]
)

// Limits keep an image from filling the disk: a few kilobytes of gzip unpack to gigabytes. Zero is the default.
type Limits struct {
	LayerBytes int64 // of one layer, unpacked; holes count in full. 16 GiB
	ImageBytes int64 // of all layers of an image, unpacked. 64 GiB
	BlobBytes  int64 // of one blob as it is stored. 16 GiB
	Entries    int   // files, folders and links of one layer. 1 million
	Layers     int   // of one image. 500, as many as the kernel's overlay stacks (OVL_MAX_STACK)
}

// A Store is a folder of images. All of its methods may be called at the same time, by any number of processes.
type Store struct {
	dir string
}

// An Option changes how a store works.
type Option func(*Store)

// WithLimits sets other limits than the default ones.
func WithLimits(l Limits) Option { return func(s *Store) {} }

// Open gives the store in the folder "images" of root, and makes it if it is not there. An empty root is
// [DefaultRoot].
func Open(root string, options ...Option) (*Store, error) { return nil, errors.ErrUnsupported }

// DefaultRoot is where tandem keeps what it cannot make again: $TANDEM_ROOT, or /var/lib/tandem for root, or "tandem"
// in the user's $XDG_DATA_HOME.
func DefaultRoot() (string, error) { return "", errors.ErrUnsupported }

// Dir is the store's folder, an OCI image layout with unpacked layers beside.
func (s *Store) Dir() string { return s.dir }

// UserXattr tells whether the layers' whiteouts and opaque folders are marked by user.overlay.* attributes, as an
// unprivileged user's have to be: such layers are mounted with overlayfs's option userxattr, others without.
func (s *Store) UserXattr() bool { return false }

// ImportOptions are what an archive does not tell. The zero value is good.
type ImportOptions struct {
	Name     string              // for the image; empty leaves it with the names in the archive, if there are any
	Platform *ocispec.Platform   // which one of an index, or what a root file system is for; nil is this machine's
	Config   ocispec.ImageConfig // of an image made from a root file system
	Progress Progress            // may be nil
}

// Import adds what r reads: a docker archive, an OCI archive or the tar archive of a root file system, compressed or
// not; which of them it is, it sees by itself. It gives the images that it added.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) ([]Image, error) {
	return nil, errors.ErrUnsupported
}

// ImportPath is [Store.Import] for a file, or for a folder that holds an OCI layout.
func (s *Store) ImportPath(ctx context.Context, path string, o ImportOptions) ([]Image, error) {
	return nil, errors.ErrUnsupported
}

// TransferOptions are for Pull and Push. The zero value is good.
type TransferOptions struct {
	Platform *ocispec.Platform // which one of an index; nil is this machine's
	Insecure bool              // speak HTTP, or HTTPS with a certificate that nobody vouches for; loopback may always
	Progress Progress          // may be nil
}

// Pull gets an image from a registry, and unpacks its layers.
func (s *Store) Pull(ctx context.Context, ref string, o TransferOptions) (Image, error) {
	return Image{}, errors.ErrUnsupported
}

// Push sends the image ref to the registry and name that target says; an empty target is ref itself.
func (s *Store) Push(ctx context.Context, ref, target string, o TransferOptions) (digest.Digest, error) {
	return "", errors.ErrUnsupported
}

// List gives all images, the one added last first.
func (s *Store) List() ([]Image, error) { return nil, errors.ErrUnsupported }

// Resolve gives the image that is meant by a name (alpine, alpine:3.22, host:5000/a/b@sha256:...), by the digest of
// its manifest or configuration, or by the first hexadecimal digits of either.
func (s *Store) Resolve(ref string) (Image, error) { return Image{}, errors.ErrUnsupported }

// Config gives the configuration of an image: its command, environment, user and so on.
func (s *Store) Config(ref string) (ocispec.Image, error) {
	return ocispec.Image{}, errors.ErrUnsupported
}

// Layers gives the folders of an image's layers as overlayfs takes its lower ones, topmost first, and unpacks those
// that are not. Nothing keeps them from being removed: see [Store.Acquire].
func (s *Store) Layers(ctx context.Context, ref string, p Progress) (lower []string, config ocispec.Image, err error) {
	return nil, ocispec.Image{}, errors.ErrUnsupported
}

// A Lease keeps an image's layers from being removed.
type Lease struct {
	Owner  string        `json:"owner"` // who asked for it: a container's ID
	Ref    string        `json:"ref"`   // as it was asked for
	Image  digest.Digest `json:"image"`
	Since  time.Time     `json:"since"`
	Lower  []string      `json:"lower"` // as Layers gives them
	Config ocispec.Image `json:"config"`
}

// Acquire is Layers with a lease on them, which holds until Release, also when this process ends. An owner has one
// lease; a second one replaces the first.
func (s *Store) Acquire(ctx context.Context, owner, ref string, p Progress) (Lease, error) {
	return Lease{}, errors.ErrUnsupported
}

// Release ends the owner's lease. It is no error if there is none.
func (s *Store) Release(owner string) error { return errors.ErrUnsupported }

// Leases gives all of them, ordered by owner.
func (s *Store) Leases() ([]Lease, error) { return nil, errors.ErrUnsupported }

// Tag gives an image one more name. An image that had the name loses it.
func (s *Store) Tag(ref, name string) error { return errors.ErrUnsupported }

// Removed tells what Remove and Prune took away.
type Removed struct {
	Names  []string        `json:"names"`  // of images
	Images []digest.Digest `json:"images"` // manifests that no name is left for
	Bytes  int64           `json:"bytes"`  // of disk space, blobs and unpacked layers
	Kept   bool            `json:"kept"`   // another process is adding to the store, so that no content could be removed
}

// Remove takes the name ref away, or all names of the image if ref is no name, and then what no image needs any more.
// It refuses with [ErrInUse] if the image loses its last name while it is leased, unless force is set; leased layers
// stay until they are released, even then.
func (s *Store) Remove(ref string, force bool) (Removed, error) {
	return Removed{}, errors.ErrUnsupported
}

// Prune removes what no named or leased image needs; with all, also images that nobody leases.
func (s *Store) Prune(all bool) (Removed, error) { return Removed{}, errors.ErrUnsupported }

// Usage is disk space in bytes.
type Usage struct {
	Images  int   `json:"images"`
	Layers  int   `json:"layers"`
	Blobs   int64 `json:"blobs"`   // as they came
	Unpack  int64 `json:"unpack"`  // the layers' files
	Garbage int64 `json:"garbage"` // what Prune would remove of either
}

// Usage tells what the store takes of the disk.
func (s *Store) Usage() (Usage, error) { return Usage{}, errors.ErrUnsupported }

// Save writes images as one OCI archive, which docker, podman, skopeo and Import read.
func (s *Store) Save(ctx context.Context, w io.Writer, refs ...string) error {
	return errors.ErrUnsupported
}
