package seccomp

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Default returns the default profile, Docker's, for a container with these capabilities in its bounding set (by
// name, as in CAP_SYS_ADMIN) and for the running kernel. The caller owns what is returned.
func Default(capabilities []string) (*specs.LinuxSeccomp, error) {
	return nil, errors.ErrUnsupported
}
