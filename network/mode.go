package network

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ModeKind says where a box's network comes from.
type ModeKind int

const (
	// ModeBridge is a namespace of its own with a link to a bridge of the host.
	ModeBridge ModeKind = iota
	// ModeNone is a namespace of its own with nothing but lo.
	ModeNone
	// ModeHost is the host's namespace.
	ModeHost
	// ModeContainer is the namespace of another container.
	ModeContainer
	// ModePath is a namespace that a file stands for.
	ModePath
)

// Mode is what --net asks for. The zero Mode is the default bridge.
type Mode struct {
	Kind ModeKind
	// Value is the bridge of ModeBridge ("" is DefaultBridge), the container's name of ModeContainer, and the
	// absolute path of ModePath.
	Value string
}

// ErrMode is wrapped by each error of [ParseMode].
var ErrMode = errors.New("want none, host, bridge, bridge=NAME, container:NAME or ns:PATH")

// ParseMode reads the value of --net: none, host, bridge, bridge=NAME, container:NAME, ns:PATH.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "", "bridge":
		return Mode{}, nil
	case "none":
		return Mode{Kind: ModeNone}, nil
	case "host":
		return Mode{Kind: ModeHost}, nil
	}
	if name, ok := strings.CutPrefix(s, "bridge="); ok {
		if err := checkBridgeName(name); err != nil {
			return Mode{}, fmt.Errorf("network: mode %q: %w", s, err)
		}
		return Mode{Value: name}, nil
	}
	if name, ok := strings.CutPrefix(s, "container:"); ok && name != "" {
		return Mode{Kind: ModeContainer, Value: name}, nil
	}
	if path, ok := strings.CutPrefix(s, "ns:"); ok && path != "" {
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return Mode{}, fmt.Errorf("network: mode %q: %q is not an absolute path", s, path)
		}
		return Mode{Kind: ModePath, Value: filepath.Clean(path)}, nil
	}
	return Mode{}, fmt.Errorf("network: mode %q: %w", s, ErrMode)
}

// String is what [ParseMode] reads.
func (m Mode) String() string {
	switch m.Kind {
	case ModeNone:
		return "none"
	case ModeHost:
		return "host"
	case ModeContainer:
		return "container:" + m.Value
	case ModePath:
		return "ns:" + m.Value
	}
	if m.Value == "" {
		return "bridge"
	}
	return "bridge=" + m.Value
}

// MarshalText lets a mode be saved as [Mode.String] spells it.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is [ParseMode].
func (m *Mode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMode(string(text))
	return err
}

// NewNamespace tells whether the box gets a network namespace of its own.
func (m Mode) NewNamespace() bool { return m.Kind == ModeBridge || m.Kind == ModeNone }
