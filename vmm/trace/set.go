package trace

import (
	"errors"
	"fmt"
	"strings"
)

// Set is a set of kinds of event.
type Set uint8

// The kinds of event.
const (
	KVM    Set = 1 << iota // ioctls
	Exits                  // why vCPUs left the guest
	Bus                    // accesses to devices
	Virtio                 // what happens on virtqueues

	All = KVM | Exits | Bus | Virtio
)

var setNames = []struct {
	bit  Set
	name string
}{{KVM, "kvm"}, {Exits, "exits"}, {Bus, "bus"}, {Virtio, "virtio"}}

// Errors of ParseSet and ParseFormat, wrapped.
var (
	ErrKind   = errors.New("not a kind of event (kvm, exits, bus, virtio, all)")
	ErrFormat = errors.New("not a trace format (text, json, none)")
)

// ParseSet reads "kvm,exits,bus,virtio" or "all".
func ParseSet(s string) (Set, error) {
	var set Set
next:
	for word := range strings.SplitSeq(s, ",") {
		if word == "all" {
			set = All
			continue
		}
		for _, n := range setNames {
			if n.name == word {
				set |= n.bit
				continue next
			}
		}
		return 0, fmt.Errorf("trace: %q: %w", word, ErrKind)
	}
	return set, nil
}

// String is the form that ParseSet reads.
func (s Set) String() string {
	var words []string
	for _, n := range setNames {
		if s&n.bit != 0 {
			words = append(words, n.name)
		}
	}
	return strings.Join(words, ",")
}

// Format is how events are written.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json" // one object a line
	None Format = "none" // events are counted only
)

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Text, JSON, None:
		return f, nil
	}
	return "", fmt.Errorf("trace: %q: %w", s, ErrFormat)
}
