package container

import (
	"encoding/json"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// linuxConfig is what of a configuration concerns Linux. encoding/json looks at each type that it is asked to fill, with
// all that it consists of, before it reads a byte: the parts of the specification that are for other platforms cost more
// than those that are read.
type linuxConfig struct {
	Version     string            `json:"ociVersion"`
	Process     *specs.Process    `json:"process"`
	Root        *specs.Root       `json:"root"`
	Hostname    string            `json:"hostname"`
	Domainname  string            `json:"domainname"`
	Mounts      []specs.Mount     `json:"mounts"`
	Hooks       *specs.Hooks      `json:"hooks"`
	Annotations map[string]string `json:"annotations"`
	Linux       *specs.Linux      `json:"linux"`
}

// ParseConfig reads a config.json. Fields that are not known are left out, as the specification wants it
// ("Extensibility"), and so is what it defines for platforms other than Linux. Its errors are encoding/json's.
func ParseConfig(text []byte) (*specs.Spec, error) {
	var c linuxConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version: c.Version, Process: c.Process, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Hooks: c.Hooks, Annotations: c.Annotations, Linux: c.Linux,
	}, nil
}
