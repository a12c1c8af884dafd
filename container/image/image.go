package image

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Image is a manifest that the store has a name for, or once had.
type Image struct {
	Names    []string         `json:"names"`             // in full, such as docker.io/library/alpine:3.22; may be empty
	Digest   digest.Digest    `json:"digest"`            // of the manifest
	ID       digest.Digest    `json:"id"`                // of the configuration: what docker and podman call the image's ID
	Source   digest.Digest    `json:"source"`            // of the index that it was chosen from; empty if there was none
	Platform ocispec.Platform `json:"platform"`          // what it runs on
	Created  *time.Time       `json:"created"`           // when it was built, as it says; nil if it does not
	Added    time.Time        `json:"added"`             // to this store
	Size     int64            `json:"size"`              // of its blobs in bytes: manifest, configuration and layers
	Layers   []Layer          `json:"layers"`            // the bottom one first
	Problem  string           `json:"problem,omitempty"` // why it cannot be used
}

// A Layer is a set of changes to the layers below it.
type Layer struct {
	Digest    digest.Digest `json:"digest"`     // of the blob, as it is stored and sent: compressed, mostly
	DiffID    digest.Digest `json:"diff_id"`    // of the tar archive in it
	ChainID   digest.Digest `json:"chain_id"`   // of this layer and all below it
	MediaType string        `json:"media_type"` //
	Size      int64         `json:"size"`       // of the blob in bytes
	CreatedBy string        `json:"created_by"` // the command that made it, if the image's history tells
}

// Progress is told what a long operation is doing; done and total are bytes of it, and total is 0 where nobody knows
// it. Calls come from one goroutine at a time.
type Progress func(step string, done, total int64)
