package kvm

import (
	"encoding/binary"
	"fmt"
)

// Route says where a GSI leads: a pin of an interrupt controller in the
// kernel, or an MSI. It is laid out as struct kvm_irq_routing_entry; make one
// with RouteChip or RouteMSI.
type Route struct {
	GSI   uint32
	Type  RouteType
	Flags uint32
	_     uint32
	U     [8]uint32 // the union: chip, pin; or address low, high, data
}

// RouteType is a KVM_IRQ_ROUTING_ number.
type RouteType uint32

const (
	RouteToChip RouteType = 1
	RouteToMSI  RouteType = 2
)

// RouteChip leads a GSI to a pin of ChipPICMaster, ChipPICSlave, ChipIOAPIC.
func RouteChip(gsi, chip, pin uint32) Route {
	return Route{GSI: gsi, Type: RouteToChip, U: [8]uint32{chip, pin}}
}

// RouteMSI leads a GSI to a message.
func RouteMSI(gsi uint32, m MSI) Route {
	return Route{GSI: gsi, Type: RouteToMSI, U: [8]uint32{uint32(m.Address), uint32(m.Address >> 32), m.Data}}
}

func (r Route) String() string {
	switch r.Type {
	case RouteToChip:
		chip := fmt.Sprintf("chip %d", r.U[0])
		switch r.U[0] {
		case ChipPICMaster:
			chip = "pic master"
		case ChipPICSlave:
			chip = "pic slave"
		case ChipIOAPIC:
			chip = "ioapic"
		}
		return fmt.Sprintf("gsi %d to %s pin %d", r.GSI, chip, r.U[1])
	case RouteToMSI:
		return fmt.Sprintf("gsi %d to %v", r.GSI, MSI{uint64(r.U[1])<<32 | uint64(r.U[0]), r.U[2]})
	}
	return fmt.Sprintf("gsi %d type %d", r.GSI, r.Type)
}

// DefaultRoutes is the table that CreateIRQChip sets up: GSI n to pin n of
// the IOAPIC, and of the PICs for the first 16. A table of one's own replaces
// it as a whole, so it starts from this one.
func DefaultRoutes() []Route {
	routes := make([]Route, 0, 40)
	for gsi := range uint32(24) {
		switch {
		case gsi < 8:
			routes = append(routes, RouteChip(gsi, ChipPICMaster, gsi))
		case gsi < 16:
			routes = append(routes, RouteChip(gsi, ChipPICSlave, gsi-8))
		}
		routes = append(routes, RouteChip(gsi, ChipIOAPIC, gsi))
	}
	return routes
}

const (
	routingHeader = 8  // struct kvm_irq_routing without its entries
	routeSize     = 48 // struct kvm_irq_routing_entry
)

// SetGSIRouting replaces the whole table. It needs the in-kernel irqchip, or
// the split one (then only MSI routes make sense). At most CapIRQRouting
// GSIs.
func (vm *VM) SetGSIRouting(routes []Route) error {
	buf := make([]byte, routingHeader, routingHeader+len(routes)*routeSize)
	binary.NativeEndian.PutUint32(buf, uint32(len(routes)))
	for _, r := range routes {
		buf, _ = binary.Append(buf, binary.NativeEndian, r)
	}
	if _, err := ioctlBuffer(vm.descriptor, reqSetGSIRouting, buf, func() any { return routes }); err != nil {
		return &Error{Op: opSetGSIRouting, Object: fmt.Sprintf("%d routes", len(routes)), Err: vm.because(err, CapIRQRouting)}
	}
	return nil
}
