package card

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"tandem/guest/config"
	"tandem/internal/plan"
	"tandem/internal/process"
	"tandem/network"
	"tandem/network/dhcp"
	"tandem/network/port"
	"tandem/network/resolv"
	"tandem/vhost/kernel"
	"tandem/vhost/kernel/stamps"
	"tandem/vhost/user/frontend"
	"tandem/virtio"
	virtionet "tandem/virtio/net"
	"tandem/vmm"
	"tandem/vmm/trace"
)

// Options are what a run gives all its cards.
type Options struct {
	// Machine is the VM's name.
	Machine string
	// State is the folder of leases, which containers on the same bridge use too.
	State string
	// Ports are published on the first card that is on a bridge.
	Ports []port.Mapping
	// Self is tandem's own program, for a back-end in a process of its own.
	Self string
	// Report is told of errors of a card that nobody else is told of.
	Report func(card string, err error)
	// Note is told a line for the user: what was changed of the host, what could not be had.
	Note func(string)
	// Trace is told what the kernel does with a card's queues, if it serves them. May be nil.
	Trace *trace.Tracer
}

// Live is a card that is plugged in. Its methods are for one goroutine.
type Live struct {
	Name string // net0
	Card Card

	opt        Options
	mac        net.HardwareAddr
	attachment *network.Attachment
	stopRelay  func()
	dhcp       *dhcp.Answerer
	link       string // of the tap
	device     *virtionet.Device
	backend    *backend
	server     interface{ Close() error }
	stamps     *stamps.Recorder // of a server in the kernel, if that is traced
	taken      bool             // the device is the machine's
}

// idPrefix begins the names under which VMs lease addresses.
const idPrefix = "vm-"

// leaseID names a card of this process's. The process is in it, so that anybody can tell whether it still needs it.
func leaseID(machine, name string) (string, error) {
	self, err := process.Self()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%s-%s-%d-%d", idPrefix, machine, name, self.PID, self.Start), nil
}

// Alive tells of a lease's ID whether it is a VM's card, and that VM runs.
func Alive(id string) bool {
	if !strings.HasPrefix(id, idPrefix) {
		return false
	}
	words := strings.Split(id, "-")
	if len(words) < 4 {
		return false
	}
	pid, pidErr := strconv.Atoi(words[len(words)-2])
	start, startErr := strconv.ParseUint(words[len(words)-1], 10, 64)
	return pidErr == nil && startErr == nil && process.ID{PID: pid, Start: start}.Alive()
}

// Plug makes a card. What it changes of the host it takes back when it fails.
func Plug(ctx context.Context, number int, c Card, opt Options) (l *Live, err error) {
	l = &Live{Name: fmt.Sprintf("net%d", number), Card: c, opt: opt}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", l.Name, err), l.Close(context.WithoutCancel(ctx)))
			l = nil
		}
	}()
	if l.mac, err = c.address(); err != nil {
		return l, err
	}
	switch {
	case c.Bridge != "":
		if err := l.attach(ctx); err != nil {
			return l, err
		}
		l.link = l.attachment.Link
	case c.Tap != "":
		l.link = c.Tap
	}
	return l, l.make(ctx)
}

// address is the card's own, or one at random of those that are given out locally.
func (c *Card) address() (net.HardwareAddr, error) {
	if c.MAC != "" {
		return net.ParseMAC(c.MAC)
	}
	mac := make(net.HardwareAddr, 6)
	rand.Read(mac)
	mac[0] = mac[0]&^1 | 2
	return mac, nil
}

// tap is what the tap has to be like.
func (c *Card) tap() network.Tap {
	return network.Tap{UID: os.Geteuid(), GID: os.Getegid(), Queues: c.pairs(), VNetHdr: true}
}

// network is what the card on a bridge asks of package network.
func (l *Live) network() (network.Spec, error) {
	id, err := leaseID(l.opt.Machine, l.Name)
	if err != nil {
		return network.Spec{}, err
	}
	tap := l.Card.tap()
	spec := network.Spec{
		ID: id, Mode: network.Mode{Kind: network.ModeBridge, Value: l.Card.Bridge}, State: l.opt.State, Tap: &tap,
		MTU: l.Card.MTU, Ports: l.opt.Ports,
	}
	if l.Card.MAC != "" {
		spec.MAC = l.mac
	}
	return spec, nil
}

// Explain gives the steps that Plug would take on the host, and the device. Nothing is done.
func Explain(ctx context.Context, number int, c Card, opt Options, transport vmm.Transport) ([]plan.Phase, vmm.Device, error) {
	l := &Live{Name: fmt.Sprintf("net%d", number), Card: c, opt: opt}
	d := l.Device(transport)
	if c.Bridge == "" {
		return nil, d, nil
	}
	var err error
	if l.mac, err = c.address(); err != nil {
		return nil, d, err
	}
	spec, err := l.network()
	if err != nil {
		return nil, d, err
	}
	setup, err := network.Prepare(ctx, spec)
	if err != nil {
		return nil, d, err
	}
	return setup.Phases(), d, nil
}

// attach makes a tap on the bridge, with an address.
func (l *Live) attach(ctx context.Context) error {
	spec, err := l.network()
	if err != nil {
		return err
	}
	if l.attachment, err = network.Attach(ctx, spec); err != nil {
		return err
	}
	if l.mac, err = net.ParseMAC(l.attachment.MAC); err != nil {
		return err
	}
	for _, c := range l.attachment.Changed {
		l.opt.Note(fmt.Sprintf("changed %s from %s to %s: %s (to undo: sysctl -w %s=%s)", c.Name, c.Old, c.New, c.Why, c.Name, c.Old))
	}
	for _, n := range l.attachment.Notes {
		l.opt.Note(n)
	}
	if err := l.answer(); err != nil {
		return err
	}
	if len(l.attachment.Sockets) > 0 {
		relaying, stop := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = l.attachment.Relay(relaying, l.attachment.Sockets, nil)
		}()
		l.stopRelay = func() {
			stop()
			<-done
		}
	}
	return nil
}

// answer tells a guest that asks by DHCP what was leased for it.
func (l *Live) answer() (err error) {
	lease := dhcp.Lease{MAC: l.mac, Host: l.opt.Machine, MTU: l.attachment.MTU}
	for i, a := range l.attachment.Addresses {
		if a.Addr().Is4() && i < len(l.attachment.Gateways) {
			lease.Address, lease.Router = a, l.attachment.Gateways[i]
		}
	}
	if !lease.Address.IsValid() {
		return nil
	}
	text, err := ResolvConf(l.opt.Machine, []*Live{l}, func(string) {})
	if err != nil {
		return err
	}
	lease.DNS = resolv.Servers(text)
	l.dhcp, err = dhcp.Start(l.attachment.Link, lease)
	return err
}

// make makes the device, and whoever serves its queues.
func (l *Live) make(ctx context.Context) error {
	c := &l.Card
	spec := virtionet.Spec{
		MAC: l.mac, Pairs: c.pairs(), MTU: uint16(l.mtu()),
		Report: func(err error) { l.opt.Report(l.Name, err) },
	}
	if c.Path == VhostUser {
		return l.makeElsewhere(ctx, spec)
	}
	files, err := network.OpenTap("", l.link, c.pairs(), c.tap())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: make one (ip tuntap add dev %s mode tap), or have tandem make one on its bridge (--net bridge)", err, l.link)
	}
	if err != nil {
		return err
	}
	tap, err := virtionet.NewTap(files...)
	if err != nil {
		return err
	}
	spec.Backend = tap
	if c.Path == Vhost {
		server, err := kernel.OpenNet(kernel.NetSpec{
			Taps: files, Report: spec.Report, BusyPoll: time.Duration(c.BusyPoll) * time.Microsecond,
		})
		if err != nil {
			return errors.Join(err, tap.Close())
		}
		spec.Server, l.server = server, server
		l.traceKernel(server)
	}
	l.device, err = virtionet.New(spec)
	return err
}

// makeElsewhere makes a device whose queues another process serves, tandem's own if the card has a cable here.
func (l *Live) makeElsewhere(ctx context.Context, spec virtionet.Spec) error {
	socket := l.Card.Socket
	if _, err := os.Stat(socket); l.link != "" && (socket == "" || errors.Is(err, fs.ErrNotExist)) {
		if l.backend, err = startBackend(l.opt.Self, socket, l.link, l.Card.pairs()); err != nil {
			return err
		}
		socket = l.backend.socket
	}
	server, err := frontend.Open(ctx, frontend.Spec{
		Type: virtio.TypeNet, Dial: frontend.Socket(socket), Queues: 2*l.Card.pairs() + 1, QueueSize: virtionet.QueueSize,
		Report: spec.Report,
	})
	if err != nil {
		return err
	}
	spec.Server, l.server = server, server
	l.device, err = virtionet.New(spec)
	return err
}

// mtu is what the guest is told; 0 is nothing.
func (l *Live) mtu() int {
	if l.attachment != nil {
		return l.attachment.MTU
	}
	return l.Card.MTU
}

// Device is the card as the machine plugs it in, which closes it from then on.
func (l *Live) Device(transport vmm.Transport) vmm.Device {
	return vmm.Device{
		Name: l.Name, Type: virtio.TypeNet, Transport: transport, Source: fmt.Sprintf("%v, %s", &l.Card, l.Card.Path),
		Direct: l.Card.Path == Exit,
		Open: func() (virtio.Device, error) {
			l.taken = true
			return l.device, nil
		},
	}
}

// Link is what the guest's init is told.
func (l *Live) Link() config.Link {
	link := config.Link{MAC: l.mac.String(), MTU: l.mtu(), Addresses: l.Card.Addresses, Gateways: l.Card.Gateways}
	if l.attachment != nil {
		link.Addresses, link.Gateways = l.attachment.Addresses, l.attachment.Gateways
	}
	return link
}

// Source is where the cable ends, and Pairs how many queue pairs there are.
func (l *Live) Source() string {
	if l.link != "" && l.Card.Tap == "" {
		return l.Card.String() + ", tap " + l.link
	}
	return l.Card.String()
}

// Pairs is the number of queue pairs.
func (l *Live) Pairs() int { return l.Card.pairs() }

// NIC is the device, for its counters and limits.
func (l *Live) NIC() *virtionet.Device { return l.device }

// ResolvConf is what a guest with these cards asks for names; nil if none of them leads anywhere.
func ResolvConf(machine string, cards []*Live, note func(string)) ([]byte, error) {
	spec := resolv.Spec{Hostname: machine}
	for _, l := range cards {
		for _, a := range l.Link().Addresses {
			spec.Addresses = append(spec.Addresses, a.Addr())
			spec.IPv6 = spec.IPv6 || a.Addr().Is6()
		}
	}
	if len(spec.Addresses) == 0 {
		return nil, nil
	}
	var err error
	if spec.HostResolvConf, err = resolv.ReadHost(false); err != nil {
		return nil, err
	}
	files, err := resolv.Make(spec)
	if err != nil {
		return nil, err
	}
	for _, n := range files.Notes {
		note(n)
	}
	return files.ResolvConf, nil
}

// Close takes everything down. The machine must have ended.
func (l *Live) Close(ctx context.Context) error {
	var errs []error
	if l.device != nil && !l.taken {
		errs = append(errs, l.device.Close())
	}
	if l.server != nil {
		errs = append(errs, l.server.Close())
	}
	if l.stamps != nil { // all that it saw is told now
		errs = append(errs, l.stamps.Close())
	}
	if l.backend != nil {
		errs = append(errs, l.backend.stop())
	}
	if l.dhcp != nil {
		errs = append(errs, l.dhcp.Close(ctx))
	}
	if l.stopRelay != nil {
		l.stopRelay()
	}
	if l.attachment != nil {
		l.attachment.CloseSockets()
		errs = append(errs, network.Detach(ctx, l.attachment))
	}
	l.device, l.server, l.stamps, l.backend, l.dhcp, l.stopRelay, l.attachment = nil, nil, nil, nil, nil, nil, nil
	return errors.Join(errs...)
}
