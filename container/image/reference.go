package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"

	"tandem/internal/pattern"
)

// What a reference has no word for stands for Docker's registry, as everybody expects.
const (
	defaultRegistry  = "docker.io"
	defaultNamespace = "library"
	defaultTag       = "latest"
	localRegistry    = "localhost" // podman's, for what it has built
)

// A Reference names an image: registry/repository:tag@digest.
type Reference struct {
	Registry   string        // with its port, if it names one
	Repository string        // with the namespace
	Tag        string        // empty only if there is a digest
	Digest     digest.Digest // empty if there is none; with one the tag is a remark
}

// The grammar of distribution's reference package, which every registry holds to.
var (
	registryPattern   = pattern.New(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$`)
	repositoryPattern = pattern.New(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$`)
	idPattern         = pattern.New(`^((sha256:)?[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
	tagPattern        = pattern.New(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$`)
)

const maxRepository = 255 // registry and repository together

// ParseReference reads a name as people write it: alpine is docker.io/library/alpine:latest.
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("image: %w", err)
	}
	return r, nil
}

// parseReference is ParseReference for errors that say more.
func parseReference(s string) (Reference, error) {
	r, err := splitReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("%.300q: %w: %w", s, ErrReference, err)
	}
	return r, nil
}

func splitReference(s string) (Reference, error) {
	var r Reference
	if len(s) > 1024 {
		return Reference{}, fmt.Errorf("%d characters are too many", len(s))
	}
	if idPattern.MatchString(s) {
		return Reference{}, errors.New("it is an ID, and not a name")
	}
	rest, sum, found := strings.Cut(s, "@")
	if found {
		r.Digest = digest.Digest(sum)
		if err := r.Digest.Validate(); err != nil {
			return Reference{}, fmt.Errorf("digest %.100q: %w", sum, err)
		}
	}
	// A colon after the last slash begins the tag; one before it, the registry's port.
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		rest, r.Tag = rest[:i], rest[i+1:]
		if !tagPattern.MatchString(r.Tag) {
			return Reference{}, fmt.Errorf("tag %.140q: up to 128 letters, digits, dots, - and _, no dot or - first", r.Tag)
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	first, path, found := strings.Cut(rest, "/")
	if found && (first == localRegistry || strings.ContainsAny(first, ".:")) {
		r.Registry, r.Repository = first, path
	} else {
		r.Registry, r.Repository = defaultRegistry, rest
	}
	if r.Registry == "index.docker.io" {
		r.Registry = defaultRegistry
	}
	if !registryPattern.MatchString(r.Registry) {
		return Reference{}, fmt.Errorf("registry %q", r.Registry)
	}
	if !repositoryPattern.MatchString(r.Repository) {
		return Reference{}, fmt.Errorf("repository %q: lower-case letters and digits, separated by / . _ or -", r.Repository)
	}
	if r.Registry == defaultRegistry && !strings.Contains(r.Repository, "/") {
		r.Repository = defaultNamespace + "/" + r.Repository
	}
	if len(r.Registry)+1+len(r.Repository) > maxRepository {
		return Reference{}, fmt.Errorf("its name has %d characters, at most %d are allowed", len(r.Registry)+1+len(r.Repository), maxRepository)
	}
	return r, nil
}

// Name is the reference without tag and digest.
func (r Reference) Name() string { return r.Registry + "/" + r.Repository }

// String is the reference in full.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Familiar is the reference as people write it, without what goes without saying but for the tag.
func (r Reference) Familiar() string {
	full := r.String()
	short, _ := strings.CutPrefix(full, defaultRegistry+"/")
	for _, s := range []string{strings.TrimPrefix(short, defaultNamespace+"/"), short} {
		// A repository may be called what a registry is.
		if same, err := parseReference(s); err == nil && same == r {
			return s
		}
	}
	return full
}

// cutLibrary gives the repository that people write with one word for one of Docker's.
func cutLibrary(r Reference) (string, bool) {
	if r.Registry != defaultRegistry {
		return "", false
	}
	return strings.CutPrefix(r.Repository, defaultNamespace+"/")
}

// local is the reference that podman gives to what it has built, if people write both in the same way.
func (r Reference) local() (Reference, bool) {
	short, ok := cutLibrary(r)
	r.Registry, r.Repository = localRegistry, short
	return r, ok
}

// remote is the reference for the registry client; insecure allows plain HTTP.
func (r Reference) remote(insecure bool) (name.Reference, error) {
	options := []name.Option{name.WithDefaultRegistry(defaultRegistry)}
	if insecure {
		options = append(options, name.Insecure)
	}
	if r.Digest != "" {
		return name.NewDigest(r.Name()+"@"+r.Digest.String(), options...)
	}
	return name.NewTag(r.Name()+":"+r.Tag, options...)
}
