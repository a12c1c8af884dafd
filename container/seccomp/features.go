package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// Supported is the seccomp section of what an OCI runtime says of itself: what Compile knows, and which flags the
// running kernel takes.
func Supported() *features.Seccomp {
	return &features.Seccomp{}
}
