package console

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Feature bits. virtio 1.2, section 5.3.3.
const (
	FeatureSize       = 0 // VIRTIO_CONSOLE_F_SIZE
	FeatureMultiport  = 1 // VIRTIO_CONSOLE_F_MULTIPORT
	FeatureEmergWrite = 2 // VIRTIO_CONSOLE_F_EMERG_WRITE
)

const (
	// MaxPorts is the largest number of ports of a device. Each has two queues, and each queue an MSI-X vector.
	MaxPorts = 31
	// MaxName is the longest name of a port, in bytes.
	MaxName = 255

	queueSize        = 64
	controlQueueSize = 32

	// Patience is how long a guest waits for a console port's writer that has stopped.
	Patience = 2 * time.Second
)

// Spec is the device that is wanted.
type Spec struct {
	// Ports are the ports by number, 1 to MaxPorts of them.
	Ports []PortSpec
	// Single leaves out VIRTIO_CONSOLE_F_MULTIPORT: there is one port, a console, whose window's size the driver finds in
	// the configuration space.
	Single bool
	// Report, if not nil, is told of writers and readers that fail.
	Report func(error)
}

// PortSpec is one port.
type PortSpec struct {
	// Name is what the guest knows the port by; none if empty. UTF-8.
	Name string
	// Console makes it a terminal, hvcN, in place of a stream of bytes.
	Console bool
}

func (s *Spec) check() error {
	switch {
	case len(s.Ports) < 1 || len(s.Ports) > MaxPorts:
		return fmt.Errorf("%d ports: want 1 to %d", len(s.Ports), MaxPorts)
	case s.Single && (len(s.Ports) != 1 || !s.Ports[0].Console || s.Ports[0].Name != ""):
		return fmt.Errorf("%d ports of a single console: want one, which is a console and has no name", len(s.Ports))
	}
	names := map[string]int{}
	for i, p := range s.Ports {
		if err := CheckName(p.Name); err != nil && p.Name != "" {
			return fmt.Errorf("port %d: %w", i, err)
		}
		if other, taken := names[p.Name]; taken && p.Name != "" {
			return fmt.Errorf("port %d: name %q is that of port %d", i, p.Name, other)
		}
		names[p.Name] = i
	}
	return nil
}

// CheckName tells whether a port can have the name: a guest makes a file of it (/dev/virtio-ports/NAME).
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("name %q: want letters", name)
	case len(name) > MaxName:
		return fmt.Errorf("name %q: %d bytes, want at most %d", name, len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q: not UTF-8", name)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '/' {
			return fmt.Errorf("name %q: character %q", name, r)
		}
	}
	return nil
}
