package network

import (
	"errors"
	"fmt"
	"path/filepath"

	"tandem/network/lease"
	"tandem/network/port"
)

const (
	minMTU     = 68    // RFC 791, 3.2
	minMTU6    = 1280  // RFC 8200, 5
	maxMTU     = 65521 // ETH_MAX_MTU, less an Ethernet header: the most that a tap takes
	maxQueues  = 256   // MAX_TAP_QUEUES
	defaultMTU = 1500
)

// withDefaults fills in what was left open, and says what is wrong with the rest.
func (s Spec) withDefaults() (Spec, error) {
	if err := checkID(s.ID); err != nil {
		return s, err
	}
	if s.State == "" {
		s.State = DefaultState
	}
	if !filepath.IsAbs(s.State) {
		return s, fmt.Errorf("state %q: want an absolute path", s.State)
	}
	if s.Mode.Kind != ModeBridge {
		return s, s.checkWithoutBridge()
	}
	if s.Mode.Value == "" {
		s.Mode.Value = DefaultBridge
	}
	if err := checkBridgeName(s.Mode.Value); err != nil {
		return s, err
	}
	if s.IPv4.IsValid() || s.IPv6.IsValid() {
		if err := lease.CheckSubnets(s.IPv4, s.IPv6); err != nil {
			return s, err
		}
	}
	if s.Interface == "" {
		s.Interface = DefaultInterface
	}
	for _, err := range []error{checkInterfaceName(s.Interface), s.checkLink(), s.checkPorts()} {
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s Spec) checkWithoutBridge() error {
	switch {
	case len(s.Ports) > 0:
		return fmt.Errorf("mode %s: ports are published with mode bridge alone", s.Mode)
	case s.Tap != nil:
		return fmt.Errorf("mode %s: a tap needs mode bridge", s.Mode)
	case s.Address.IsValid():
		return fmt.Errorf("mode %s: address %s needs mode bridge", s.Mode, s.Address)
	case s.Mode.Kind == ModeHost:
		return nil
	case s.Mode.Kind == ModePath && s.NetNS != "" && s.NetNS != s.Mode.Value:
		return fmt.Errorf("mode %s: and namespace %s", s.Mode, s.NetNS)
	case s.Mode.Kind != ModePath && s.NetNS == "" && s.OpenNetNS == nil:
		return fmt.Errorf("mode %s: no namespace", s.Mode)
	}
	return nil
}

func (s Spec) checkLink() error {
	switch {
	case s.MTU != 0 && (s.MTU < minMTU || s.MTU > maxMTU):
		return fmt.Errorf("MTU %d: want %d to %d", s.MTU, minMTU, maxMTU)
	case s.Address.IsValid() && (s.Address.Zone() != "" || s.Address.Is4In6()):
		return fmt.Errorf("address %s: want an IPv4 or IPv6 address without a zone", s.Address)
	case s.NoIPv6 && s.Address.Is6():
		return fmt.Errorf("address %s: without IPv6", s.Address)
	case s.MTU != 0 && s.MTU < minMTU6 && s.Address.Is6():
		return fmt.Errorf("address %s: IPv6 needs an MTU of %d, not %d", s.Address, minMTU6, s.MTU)
	case s.Tap == nil && s.NetNS == "" && s.OpenNetNS == nil:
		return errors.New("no namespace for the container's end")
	case s.Tap != nil && (s.NetNS != "" || s.OpenNetNS != nil):
		return errors.New("a tap stays on the host: it goes into no namespace")
	case s.Tap != nil && (s.Tap.Queues < 0 || s.Tap.Queues > maxQueues):
		return fmt.Errorf("tap with %d queues: want 1 to %d", s.Tap.Queues, maxQueues)
	case s.Tap != nil && (s.Tap.UID < 0 || s.Tap.GID < 0):
		return fmt.Errorf("tap of user %d, group %d", s.Tap.UID, s.Tap.GID)
	case s.MAC != nil:
		return checkMAC(s.MAC)
	}
	return nil
}

func (s Spec) checkPorts() error {
	for i, m := range s.Ports {
		if err := m.Check(); err != nil {
			return fmt.Errorf("publish %s: %w", m, err)
		}
		for _, other := range s.Ports[:i] {
			if m.Settled() && other.Settled() && m.Overlaps(other) {
				return fmt.Errorf("publish %s: %w by %s of the same box", m, port.ErrTaken, other)
			}
		}
	}
	return nil
}
