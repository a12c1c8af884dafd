package port

import (
	"fmt"
	"strings"
)

// Exposed is a port of a box that a program in it is said to listen on. It is not reached from the host by that.
type Exposed struct {
	Port     uint16   `json:"port"`
	Protocol Protocol `json:"protocol"`
}

func (e Exposed) String() string { return fmt.Sprintf("%d/%s", e.Port, e.Protocol) }

// Publish is the mapping of any free port of the host to it, on all addresses.
func (e Exposed) Publish() Mapping { return Mapping{BoxPort: e.Port, Count: 1, Protocol: e.Protocol} }

// In tells whether a mapping leads to it.
func (e Exposed) In(m Mapping) bool {
	return e.Protocol == m.Protocol && e.Port >= m.BoxPort && e.Port-m.BoxPort < max(m.Count, 1)
}

// ParseExposed reads ports as EXPOSE of a Dockerfile and docker's --expose have them: 80, 80/udp or 8000-8009/tcp.
func ParseExposed(s string) ([]Exposed, error) {
	numbers, protocol, given := strings.Cut(s, "/")
	p := TCP
	if given {
		p = Protocol(strings.ToLower(protocol))
	}
	first, last, err := parseRange(numbers)
	if err == nil {
		err = Mapping{BoxPort: first, Count: 1, Protocol: p}.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("port: %q: %w", s, err)
	}
	list := make([]Exposed, 0, int(last)-int(first)+1)
	for n := int(first); n <= int(last); n++ {
		list = append(list, Exposed{uint16(n), p})
	}
	return list, nil
}
