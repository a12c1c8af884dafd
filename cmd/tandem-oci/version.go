package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// version is set by the linker: see Makefile.
var version string

// versionText has the lines of runc's, which callers look for by their first words.
func versionText() string {
	v, commit := version, "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	if v == "" {
		v = "unknown"
	}
	return fmt.Sprintf("tandem-oci version %s\ncommit: %s\nspec: %s\ngo: %s\n",
		v, commit, specs.Version, runtime.Version())
}
