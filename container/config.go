package container

import (
	"encoding/json"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/internal/fastjson"
)

// ParseConfig reads a config.json. Fields that are not known are left out, as the specification wants it
// ("Extensibility"), and so is what it defines for platforms other than Linux. Its errors are encoding/json's.
//
// encoding/json looks at each type that it is asked to fill, with all that it consists of, before it reads a byte. For this
// one, and for a process that reads one text in its life, that takes longer than the rest of it. So what configurations
// mostly consist of is read without it; a text that has anything else is encoding/json's.
func ParseConfig(text []byte) (*specs.Spec, error) {
	if s, ok := quickConfig(text); ok {
		return s, nil
	}
	var c linuxConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version: c.Version, Process: c.Process, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Hooks: c.Hooks, Annotations: c.Annotations, Linux: c.Linux,
	}, nil
}

// linuxConfig is what of a configuration concerns Linux.
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

// quickConfig reads a configuration that has nothing out of the ordinary. Where it does not give up, it has read what
// encoding/json would have read.
func quickConfig(text []byte) (s *specs.Spec, ok bool) {
	r := fastjson.New(text)
	s = new(specs.Spec)
	fastjson.Struct(r, s, specField)
	return s, r.Done()
}
