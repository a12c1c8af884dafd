package main

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// changeInstructions are those that changeConfig knows.
const changeInstructions = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR"

// changeConfig does to an image's configuration what an instruction of a Dockerfile says.
func changeConfig(c *ocispec.ImageConfig, instruction string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(instruction), " ")
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return fmt.Errorf("change %q: nothing follows %s", instruction, word)
	}
	set := func(m *map[string]struct{}) {
		if *m == nil {
			*m = map[string]struct{}{}
		}
		for _, key := range wordList(rest) {
			(*m)[key] = struct{}{}
		}
	}
	switch strings.ToUpper(word) {
	case "CMD":
		c.Cmd = commandForm(rest)
	case "ENTRYPOINT":
		c.Entrypoint = commandForm(rest)
	case "ENV":
		name, value, err := parseAssignment(rest)
		if err != nil {
			return fmt.Errorf("change %q: %w", instruction, err)
		}
		c.Env = append(c.Env, name+"="+value)
	case "LABEL":
		name, value, err := parseAssignment(rest)
		if err != nil {
			return fmt.Errorf("change %q: %w", instruction, err)
		}
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[name] = value
	case "EXPOSE":
		set(&c.ExposedPorts)
	case "VOLUME":
		set(&c.Volumes)
	case "USER":
		c.User = rest
	case "WORKDIR":
		c.WorkingDir = rest
	case "STOPSIGNAL":
		c.StopSignal = rest
	default:
		return fmt.Errorf("change %q: %q is none of %s", instruction, word, changeInstructions)
	}
	return nil
}

// commandForm reads a command in its two forms: a JSON array as it is, and anything else for a shell.
func commandForm(s string) []string {
	var words []string
	if json.Unmarshal([]byte(s), &words) == nil {
		return words
	}
	return []string{"/bin/sh", "-c", s}
}

// wordList reads a JSON array, or words.
func wordList(s string) []string {
	var words []string
	if json.Unmarshal([]byte(s), &words) == nil {
		return words
	}
	return strings.Fields(s)
}

// parseAssignment reads NAME=VALUE, where the value may be quoted.
func parseAssignment(s string) (name, value string, err error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t\x00") {
		return "", "", fmt.Errorf("%q is not NAME=VALUE", s)
	}
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		value = value[1 : len(value)-1]
	}
	return name, value, nil
}
