package resctrl

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// schema is a line of a schemata file: for each of the caches of a level, by its number, the part of it.
type schema struct {
	resource string // "L3", "L3CODE", "MB"
	parts    map[string]string
}

// parseSchema reads "L3:0=fff;1=0f0". Numbers are compared as text, once case and leading noughts are gone: masks are
// hexadecimal, and bandwidths are decimal, so that no base is right for both.
func parseSchema(line string) (schema, error) {
	if strings.ContainsAny(line, "\n\x00") {
		return schema{}, errors.New("want one line")
	}
	resource, list, ok := strings.Cut(line, ":")
	s := schema{strings.TrimSpace(resource), make(map[string]string)}
	if !ok || s.resource == "" {
		return s, errors.New(`want RESOURCE:CACHE=PART;..., such as "L3:0=fff;1=fff"`)
	}
	for part := range strings.SplitSeq(strings.TrimSpace(list), ";") {
		cache, value, ok := strings.Cut(part, "=")
		cache, value = number(cache), number(value)
		_, twice := s.parts[cache]
		switch {
		case !ok || cache == "" || value == "":
			return s, fmt.Errorf("%q is not CACHE=PART", part)
		case twice:
			return s, fmt.Errorf("cache %s is there twice", cache)
		}
		s.parts[cache] = value
	}
	return s, nil
}

func number(text string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	text = strings.TrimPrefix(text, "0x")
	if short := strings.TrimLeft(text, "0"); short != "" || text == "" {
		return short
	}
	return "0"
}

// compare finds what a class has otherwise than wanted. What is not named may be as it is.
func compare(wanted []string, file string) error {
	has := make(map[string]schema)
	for lines := bufio.NewScanner(strings.NewReader(file)); lines.Scan(); {
		if s, err := parseSchema(lines.Text()); err == nil {
			has[s.resource] = s
		}
	}
	for _, line := range wanted {
		want, err := parseSchema(line)
		if err != nil {
			return err
		}
		have, ok := has[want.resource]
		if !ok {
			return fmt.Errorf("it has no line that begins with %s", want.resource)
		}
		for _, cache := range slices.Sorted(maps.Keys(want.parts)) {
			if have.parts[cache] != want.parts[cache] {
				return fmt.Errorf("%s of cache %s is %q, not %q", want.resource, cache, have.parts[cache], want.parts[cache])
			}
		}
	}
	return nil
}

// Lines are lines for a schemata file as it takes them.
func Lines(lines []string) (string, error) {
	for _, line := range lines {
		if _, err := parseSchema(line); err != nil {
			return "", fmt.Errorf("resctrl: %q: %w: %w", line, ErrInvalid, err)
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}
