package main

import (
	"fmt"
	"regexp"

	"tandem/container"
)

// selected finds the containers that a command line names: one by its ID, or with --regex, as crun has it, every one
// whose ID matches.
func (g *global) selected(names []string, regex bool) ([]*container.Container, error) {
	e, err := g.engine()
	if err != nil {
		return nil, err
	}
	var found []*container.Container
	for _, name := range names {
		if !regex {
			c, err := e.Load(name)
			if err != nil {
				return nil, err
			}
			found = append(found, c)
			continue
		}
		pattern, err := regexp.Compile(name)
		if err != nil {
			return nil, fmt.Errorf("--regex: %w", err)
		}
		all, err := e.List()
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			if pattern.MatchString(c.ID()) {
				found = append(found, c)
			}
		}
	}
	return found, nil
}
