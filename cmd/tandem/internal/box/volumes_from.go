package box

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// checkVolumesFrom reads the values of --volumes-from: CONTAINER, CONTAINER:ro or CONTAINER:rw.
func (o *Options) checkVolumesFrom() error {
	for _, text := range o.VolumesFrom {
		if name, mode, given := strings.Cut(text, ":"); name == "" || given && mode != "ro" && mode != "rw" {
			return wrong("--volumes-from %q: want CONTAINER, or CONTAINER:ro", text)
		}
	}
	return nil
}

// takeVolumes gives the box the volumes of others, as they are now. What they have read-only stays so; where it has a mount
// of its own, or one of a container named before, it has that.
func (r *Record) takeVolumes() error {
	o := &r.Options
	for _, text := range o.VolumesFrom {
		name, mode, _ := strings.Cut(text, ":")
		other, err := r.home.Find(name)
		if err != nil {
			return fmt.Errorf("--volumes-from %s: %w", text, err)
		}
		for _, m := range other.Options.Mounts {
			taken := func(mine specs.Mount) bool { return mine.Destination == m.Destination }
			if m.Type != "bind" || slices.ContainsFunc(o.Mounts, taken) {
				continue
			}
			m.Options = slices.Clone(m.Options)
			if mode == "ro" && !slices.Contains(m.Options, "ro") {
				m.Options = append(m.Options, bindOptions["ro"]...)
			}
			o.Mounts = append(o.Mounts, m)
		}
	}
	return nil
}
