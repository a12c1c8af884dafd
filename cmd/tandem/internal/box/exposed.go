package box

import (
	"cmp"
	"fmt"
	"slices"

	"tandem/network"
	"tandem/network/port"
)

// maxExposed bounds what an image can have published: each port takes sockets, and rules.
const maxExposed = 256

// Exposed are the ports that the image and the user say that the box listens on, in their order, each once.
func (r *Record) Exposed() ([]port.Exposed, error) {
	var list []port.Exposed
	for text := range r.ImageConfig.ExposedPorts {
		ports, err := port.ParseExposed(text)
		if err != nil {
			return nil, fmt.Errorf("what the image exposes: %w", err)
		}
		list = append(list, ports...)
		if len(list) > 1<<16*len(protocols) { // an image may say it in many ways
			list = sortExposed(list)
		}
	}
	return sortExposed(append(list, r.Options.Exposed...)), nil
}

var protocols = []port.Protocol{port.TCP, port.UDP}

func sortExposed(list []port.Exposed) []port.Exposed {
	slices.SortFunc(list, func(a, b port.Exposed) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return slices.Compact(list)
}

// published are the ports that were asked for, and with --publish-all those that are exposed and were not asked for.
func (r *Record) published() ([]port.Mapping, error) {
	o := &r.Options
	if !o.PublishAll {
		return o.Ports, nil
	}
	exposed, err := r.Exposed()
	if err != nil {
		return nil, fmt.Errorf("--publish-all: %w", err)
	}
	if len(exposed) > maxExposed {
		return nil, wrong("--publish-all: %d ports are exposed, at most %d are published so; name those that matter with --publish", len(exposed), maxExposed)
	}
	ports := slices.Clone(o.Ports)
	for _, e := range exposed {
		if !slices.ContainsFunc(o.Ports, e.In) {
			ports = append(ports, e.Publish())
		}
	}
	return ports, nil
}

// OnlyExposed are the exposed ports of a box on a bridge that no port of the host leads to.
func (r *Record) OnlyExposed() []port.Exposed {
	if r.Network == nil || r.Network.Mode.Kind != network.ModeBridge {
		return nil
	}
	list, err := r.Exposed()
	if err != nil {
		return nil // an image may say anything
	}
	return slices.DeleteFunc(list, func(e port.Exposed) bool { return slices.ContainsFunc(r.Network.Ports, e.In) })
}
