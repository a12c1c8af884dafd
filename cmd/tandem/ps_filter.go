package main

import (
	"fmt"
	"strconv"
	"strings"

	"tandem/cmd/tandem/internal/box"
	"tandem/network"
)

// psFilters are those of tandem ps, as docker spells them.
const psFilters = "id, name, label, ancestor, status, exited, health, network or volume"

// matches tells whether a container passes filters, each NAME=VALUE: all names must be met, by one of their values.
func (l listed) matches(filters []string) (bool, error) {
	met := make(map[string]bool)
	for _, text := range filters {
		name, value, given := strings.Cut(text, "=")
		if !given || value == "" {
			return false, flagError("filter", text, "want NAME=VALUE")
		}
		ok, err := l.meets(name, value)
		if err != nil {
			return false, flagError("filter", text, err)
		}
		met[name] = met[name] || ok
	}
	for _, ok := range met {
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func (l listed) meets(name, value string) (bool, error) {
	switch name {
	case "id":
		return strings.HasPrefix(l.ID, value), nil
	case "name":
		return strings.Contains(l.Name, value), nil
	case "label":
		key, want, whole := strings.Cut(value, "=")
		have, there := l.Options.Labels[key]
		return there && (!whole || have == want), nil
	case "ancestor":
		return l.Options.Image != "" && familiarName(l.Options.Image) == familiarName(value) || l.Image == value, nil
	case "status":
		switch s := box.Status(value); s {
		case box.Created, box.Running, box.Paused, box.Restarting, box.Exited, box.Dead:
			return l.status == s, nil
		}
		return false, fmt.Errorf("want created, running, paused, restarting, exited or dead")
	case "exited":
		status, err := strconv.Atoi(value)
		if err != nil {
			return false, fmt.Errorf("want an exit status")
		}
		return l.status == box.Exited && l.Exit.Status == status, nil
	case "health":
		switch s := box.HealthStatus(value); s {
		case box.HealthStarting, box.Healthy, box.HealthUnhealthy:
			return l.Health != nil && l.Health.Status == s, nil
		case "none":
			return l.Health == nil, nil
		}
		return false, fmt.Errorf("want starting, healthy, unhealthy or none")
	case "network":
		mode := l.Mode()
		return mode.String() == value || mode.Value == value && mode.Kind == network.ModeBridge, nil
	case "volume":
		for _, m := range l.Options.Mounts {
			if m.Source == value || m.Destination == value {
				return true, nil
			}
		}
		return false, nil
	}
	return false, fmt.Errorf("want %s", psFilters)
}
