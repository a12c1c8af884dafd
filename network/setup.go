package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"

	"tandem/internal/plan"
	"tandem/network/lease"
	"tandem/network/netns"
	"tandem/network/port"
)

// Setup is a Spec made into steps. It is for one goroutine at a time, and for one run.
type Setup struct {
	ctx  context.Context
	spec Spec
	file lease.File

	host *space
	box  *space // of the container

	// What is leased, and from which network: a forecast at first, the truth once the first step is done.
	network *lease.Network
	lease   *lease.Lease

	phases     []plan.Phase
	attachment Attachment

	oldKernel bool // for tests: work as on a kernel without force_forwarding
}

// Prepare checks a Spec and makes its steps. It reads what there is (routes, leases) and changes nothing; it needs no
// privilege, unless Spec.Host is another namespace than the caller's. The steps stop waiting for locks when ctx ends.
func Prepare(ctx context.Context, spec Spec) (*Setup, error) {
	s, err := prepare(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("network: %s: %w", spec.ID, err)
	}
	return s, nil
}

func prepare(ctx context.Context, spec Spec) (*Setup, error) {
	spec, err := spec.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Setup{ctx: ctx, spec: spec, host: hostSpace(spec.Host, spec.State)}
	s.box = &space{open: s.openBox}
	s.attachment = Attachment{ID: spec.ID, Mode: spec.Mode, State: spec.State, Host: spec.Host}
	if spec.Mode.Kind != ModeBridge {
		s.phases = s.withoutBridge()
		return s, nil
	}
	s.attachment.Bridge = spec.Mode.Value
	if err := errors.Join(s.forecast(), s.host.close()); err != nil {
		return nil, err
	}
	s.phases = s.withBridge()
	return s, nil
}

// openBox opens the container's namespace.
func (s *Setup) openBox() (*netns.NS, error) {
	if s.spec.OpenNetNS == nil {
		return netns.Open(s.netNSPath())
	}
	file, err := s.spec.OpenNetNS()
	if err != nil {
		return nil, err
	}
	return netns.FromFile(file)
}

func (s *Setup) netNSPath() string {
	if s.spec.Mode.Kind == ModePath {
		return s.spec.Mode.Value
	}
	return s.spec.NetNS
}

// Phases are the steps, to be put into a plan. Each takes back what it did when it is undone, also long after the last
// was done; but the bridge stays for as long as other boxes are on it.
func (s *Setup) Phases() []plan.Phase { return s.phases }

// Steps are those of all phases in one list.
func (s *Setup) Steps() []plan.Step {
	var all []plan.Step
	for _, p := range s.phases {
		all = append(all, p.Steps...)
	}
	return all
}

// Attachment tells what was made, once all steps are done.
func (s *Setup) Attachment() *Attachment { return &s.attachment }

// Attach does the steps, and undoes what it did if it fails.
func Attach(ctx context.Context, spec Spec) (*Attachment, error) {
	s, err := Prepare(ctx, spec)
	if err != nil {
		return nil, err
	}
	p := plan.New("network: attach " + spec.ID)
	p.Phases = s.Phases()
	if _, err := p.Run(ctx); err != nil {
		return nil, err
	}
	return s.Attachment(), nil
}

// forecast works out what a lease would be, for the plan to print.
func (s *Setup) forecast() error {
	s.file = lease.File{Folder: s.spec.State, Bridge: s.spec.Mode.Value}
	n, err := s.file.Read()
	if err != nil {
		return err
	}
	if len(n.Leases) == 0 {
		if err := s.choose(n); err != nil {
			return err
		}
	} else if err := s.fits(n); err != nil {
		return err
	}
	s.network, s.lease = n, &lease.Lease{ID: s.spec.ID, Number: n.Next()}
	if own := n.Lease(s.spec.ID); own != nil {
		s.lease.Number = own.Number // the first step finds out whether it may be had again
	} else if s.spec.Address.IsValid() {
		l, err := n.Take(s.spec.ID, s.spec.Address)
		if err != nil {
			return err
		}
		s.lease = l
	}
	s.describe(s.lease)
	return nil
}

// choose gives a network without leases its subnets and MTU.
func (s *Setup) choose(n *lease.Network) error {
	mtu := s.spec.MTU
	if mtu == 0 {
		var err error
		if mtu, err = s.host.uplinkMTU(); err != nil {
			return err
		}
	}
	taken, err := s.host.busy(s.spec.State, n.Bridge)
	if err != nil {
		return err
	}
	four, six := s.spec.IPv4, s.spec.IPv6
	if !four.IsValid() {
		if four, err = chooseSubnet4(n.Bridge, taken); err != nil {
			return err
		}
	}
	why, err := s.host.wantsIPv6(mtu)
	switch {
	case err != nil:
		return err
	case why != "" && six.IsValid():
		return fmt.Errorf("subnet %v: there can be no IPv6: %s", six, why)
	case why != "":
		s.note("without IPv6: " + why)
	case !six.IsValid():
		six = chooseSubnet6(n.Bridge, taken)
	}
	n.IPv4, n.IPv6, n.MTU, n.Last = four, six, mtu, 0
	return nil
}

// fits compares a network that has boxes with the Spec.
func (s *Setup) fits(n *lease.Network) error {
	switch {
	case s.spec.IPv4.IsValid() && s.spec.IPv4 != n.IPv4:
		return fmt.Errorf("subnet %v: %s has %v for as long as boxes are on it", s.spec.IPv4, n.Bridge, n.IPv4)
	case s.spec.IPv6.IsValid() && s.spec.IPv6 != n.IPv6:
		return fmt.Errorf("subnet %v: %s has %v for as long as boxes are on it", s.spec.IPv6, n.Bridge, n.IPv6)
	case s.spec.MTU > n.MTU:
		return fmt.Errorf("MTU %d: %s has %d for as long as boxes are on it", s.spec.MTU, n.Bridge, n.MTU)
	}
	return nil
}

// describe fills in a lease what follows from the Spec, and the attachment from the lease.
func (s *Setup) describe(l *lease.Lease) {
	kind := vethKind
	if s.spec.Tap != nil {
		kind, l.Tap = tapKind, true
	}
	l.Link, l.NoIPv6 = linkName(kind, s.network.Bridge, s.spec.ID), s.withoutIPv6()
	s.attachment.Link, s.attachment.MTU, s.attachment.MAC = l.Link, s.mtu(), s.mac().String()
	if s.spec.Tap == nil {
		s.attachment.Interface = s.spec.Interface
	}
	s.attachment.Addresses, s.attachment.Gateways = nil, nil
	for i, p := range s.network.Addresses(l.Number) {
		if p.Addr().Is6() && l.NoIPv6 {
			continue
		}
		s.attachment.Addresses = append(s.attachment.Addresses, p)
		s.attachment.Gateways = append(s.attachment.Gateways, s.network.Gateways()[i].Addr())
	}
	s.attachment.Ports = s.spec.Ports
}

// withoutIPv6 tells whether the box does without, whatever the bridge has.
func (s *Setup) withoutIPv6() bool {
	if s.spec.NoIPv6 || !s.network.IPv6.IsValid() {
		return true
	}
	if s.mtu() < minMTU6 {
		s.note(fmt.Sprintf("without IPv6: the MTU of %d is below %d", s.mtu(), minMTU6))
		return true
	}
	return false
}

func (s *Setup) mtu() int {
	if s.spec.MTU != 0 {
		return s.spec.MTU
	}
	return s.network.MTU
}

func (s *Setup) mac() net.HardwareAddr {
	if s.spec.MAC != nil {
		return s.spec.MAC
	}
	return macOf(s.network.Address4(s.lease.Number).Addr())
}

// address is the box's of one family, and zero if it has none.
func (s *Setup) address(six bool) netip.Prefix {
	for _, p := range s.attachment.Addresses {
		if p.Addr().Is6() == six {
			return p
		}
	}
	return netip.Prefix{}
}

func (s *Setup) note(text string) {
	for _, n := range s.attachment.Notes {
		if n == text {
			return
		}
	}
	s.attachment.Notes = append(s.attachment.Notes, text)
}

// later prints as what a function returns at the time of printing: before the steps the forecast, after them the truth.
type later func() string

func (l later) String() string { return l() }

// MarshalText lets a JSON reader see the same.
func (l later) MarshalText() ([]byte, error) { return []byte(l()), nil }

// withoutBridge are the steps of the other modes: none needs more than lo.
func (s *Setup) withoutBridge() []plan.Phase {
	var steps []plan.Step
	switch s.spec.Mode.Kind {
	case ModeNone:
		steps = append(s.openSteps(), s.loUp(), s.closeStep())
	case ModeContainer, ModePath:
		steps = append(s.openSteps(), s.closeStep())
	default:
		return nil
	}
	return []plan.Phase{{Name: "network: " + s.spec.Mode.String(), Steps: steps}}
}

// openSteps open the namespaces. Undone last, the first closes what the undoing of others has opened again.
func (s *Setup) openSteps() []plan.Step {
	host := plan.Step{
		Op: "open", Object: s.spec.Host, Why: "the network namespace of the host, for netlink sockets in it",
		Do:   func() error { _, err := s.host.netns(); return err },
		Undo: s.closeSpaces,
	}
	if s.spec.Host == "" {
		host.Object = "/proc/thread-self/ns/net"
	}
	box := plan.Step{
		Op: "open", Object: s.netNSPath(), Why: "the container's network namespace",
		Do:   func() error { _, err := s.box.netns(); return err },
		Undo: s.box.close,
	}
	if s.spec.Mode.Kind == ModeContainer || s.spec.Mode.Kind == ModePath {
		box.Why = "the container joins this network namespace: is it one?"
	}
	switch {
	case s.spec.Tap != nil:
		return []plan.Step{host}
	case s.spec.Mode.Kind != ModeBridge:
		return []plan.Step{box}
	}
	return []plan.Step{host, box}
}

func (s *Setup) closeSpaces() error { return errors.Join(s.box.close(), s.host.close()) }

func (s *Setup) closeStep() plan.Step {
	return plan.Step{Op: "close", Object: "network namespaces", Why: "they were for the steps alone", Do: s.closeSpaces}
}

func (s *Setup) loUp() plan.Step {
	return plan.Step{
		Op: "RTM_SETLINK", Object: "lo", Args: []plan.Arg{plan.A("netns", s.netNSPath()), plan.A("flags", "IFF_UP")},
		Why: "a new namespace has lo, but down: 127.0.0.1 would be unreachable",
		Do:  func() error { return s.box.onLink("lo", (*netlink.Handle).LinkSetUp) },
	}
}

// CloseSockets closes the sockets that hold the published ports.
func (a *Attachment) CloseSockets() {
	port.CloseAll(a.Sockets)
	a.Sockets = nil
}

// Relay carries what reaches the sockets of the published ports to the box, until ctx ends: connections from the host
// itself, mostly. Sockets are those that Attach gave, or copies that another process got. It closes none.
func (a *Attachment) Relay(ctx context.Context, sockets []*os.File, log func(error)) error {
	host := hostSpace(a.Host, a.State)
	ns, err := host.netns()
	if err != nil {
		return fmt.Errorf("network: relay for %s: %w", a.ID, err)
	}
	defer host.close()
	r := &port.Relay{Host: ns, Mappings: a.Ports, Sockets: sockets, Log: log}
	for _, p := range a.Addresses {
		r.Box = append(r.Box, p.Addr())
	}
	return r.Serve(ctx)
}
