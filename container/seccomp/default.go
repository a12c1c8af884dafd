package seccomp

import (
	"fmt"

	profiles "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Default returns the default profile, Docker's, for a container with these capabilities in its bounding set (by
// name, as in CAP_SYS_ADMIN) and for the running kernel: with CAP_SYS_ADMIN it lets mount through, without it does
// not. The caller owns what is returned.
func Default(capabilities []string) (*specs.LinuxSeccomp, error) {
	profile, err := profiles.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}},
	})
	if err != nil {
		return nil, fmt.Errorf("seccomp: default profile: %w", err)
	}
	return profile, nil
}
