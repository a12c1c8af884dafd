package container

import (
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// InitName is what a container's init is called, in its first argument and in /dev.
const InitName = "tandem-init"

// withInit puts the init into a copy of the configuration: a read-only mount of its file, which so cannot be written to
// from the container (CVE-2019-5736), on the tmpfs that /dev is; and its name before the command.
func withInit(c *specs.Spec, program string) *specs.Spec {
	inside := path.Join("/dev", InitName)
	with, process := *c, *c.Process
	process.Args = append([]string{inside}, c.Process.Args...)
	with.Process = &process
	with.Mounts = append(c.Mounts[:len(c.Mounts):len(c.Mounts)], specs.Mount{
		Destination: inside, Type: "bind", Source: program, Options: []string{"bind", "ro", "nosuid", "nodev"},
	})
	return &with
}
