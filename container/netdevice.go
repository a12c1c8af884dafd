package container

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// netDevice is a link of the host's that the container gets (config-linux.md, Network Devices).
type netDevice struct {
	name string // on the host
	as   string // in the container: a name, or one with %d, which the kernel fills in

	link moved // once it is on its way
}

// parseNetDevices reads linux.netDevices, in the order of their names.
func parseNetDevices(l *specs.Linux, n namespaces) ([]*netDevice, error) {
	const field = "linux.netDevices"
	if len(l.NetDevices) > 0 && !n.has(unix.CLONE_NEWNET) {
		return nil, invalid("%s: the container has no network namespace of its own that a link could be moved to", field)
	}
	var list []*netDevice
	taken := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(l.NetDevices)) {
		d := &netDevice{name: name, as: l.NetDevices[name].Name}
		if d.as == "" {
			d.as = name
		}
		if why := badLinkName(d.name); why != "" || strings.Contains(d.name, "%") {
			return nil, invalid("%s %q: not the name of a link: %s", field, d.name, why)
		}
		if why := badLinkName(strings.Replace(d.as, "%d", "0", 1)); why != "" {
			return nil, invalid("%s %q: name %q: %s", field, d.name, d.as, why)
		}
		if other := taken[d.as]; other != "" && !d.template() {
			return nil, invalid("%s %q and %q: both would be %q", field, other, d.name, d.as)
		}
		taken[d.as] = d.name
		list = append(list, d)
	}
	return list, nil
}

func (d *netDevice) template() bool { return strings.Contains(d.as, "%d") }

// badLinkName is what the kernel has against a name (dev_valid_name in net/core/dev.c), or empty.
func badLinkName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "it is empty, or a folder's"
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Sprintf("%d characters, at most %d", len(name), unix.IFNAMSIZ-1)
	case strings.ContainsAny(name, "/:%") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "it has a character that no name may have"
	}
	return ""
}

// netDeviceSteps move links. The container's namespace is held open from the first step on: if the container is not made to
// the end its process may be gone before the links are back, and with the last process goes the namespace, and with that
// every link that is not hardware.
func (a *assembly) netDeviceSteps() []plan.Step {
	box, path := "/proc/PID/ns/net", func() string { return fmt.Sprintf("/proc/%d/ns/net", a.pid) }
	if joined := a.ns.join[unix.CLONE_NEWNET]; joined != "" {
		box, path = joined, func() string { return joined }
	}
	steps := []plan.Step{{
		Op: "open", Object: box, Why: "links are moved to it",
		Do: func() (err error) {
			a.netMove, err = openNetMove(path())
			return err
		},
	}}
	for _, d := range a.netDevices {
		netns := plan.A("netns", box)
		steps = append(
			steps,
			plan.Step{
				Op: "RTM_GETLINK", Object: d.name, Args: []plan.Arg{plan.A("name", d.as)},
				Why: "is it there, and is its new name free? And what are its addresses, which do not move with it?",
				Do:  func() error { return d.wrap(a.netMove.look(d)) },
			},
			plan.Step{
				Op: "RTM_SETLINK", Object: d.name, Args: []plan.Arg{netns}, Why: "from here on the host has it no more",
				Do:   func() error { return d.wrap(a.netMove.move(d)) },
				Undo: func() error { return d.wrap(a.netMove.giveBack(d)) },
			},
			plan.Step{
				Op: "RTM_SETLINK", Object: d.name, Args: []plan.Arg{netns, plan.A("name", d.as)}, Why: "what the container calls it",
				Do: func() error { return d.wrap(a.netMove.rename(d)) },
			},
			plan.Step{
				Op: "RTM_NEWADDR", Object: d.name, Args: []plan.Arg{netns}, Why: "the addresses that it had, if they were global and to stay",
				Do: func() error { return d.wrap(a.netMove.box.addAddresses(&d.link, d.link.name)) },
			},
			plan.Step{
				Op: "RTM_SETLINK", Object: d.name, Args: []plan.Arg{netns, plan.A("flags", "IFF_UP")},
				Do: func() error { return d.wrap(a.netMove.box.up(&d.link)) },
			},
		)
	}
	return steps
}

func (d *netDevice) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("linux.netDevices %q: %w", d.name, err)
}

// netMove is the two ends of the way.
type netMove struct{ host, box *netSpace }

func openNetMove(box string) (*netMove, error) {
	host, err := openNetSpace("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	to, err := openNetSpace(box)
	if err != nil {
		host.close()
		return nil, err
	}
	m := &netMove{host, to}
	if same, err := m.same(); err != nil || same {
		m.close()
		return nil, errors.Join(err, invalid("linux.netDevices: %s is the network namespace that the links are in", box))
	}
	return m, nil
}

func (m *netMove) same() (bool, error) {
	a, err := m.host.file.Stat()
	if err != nil {
		return false, err
	}
	b, err := m.box.file.Stat()
	return os.SameFile(a, b), err
}

func (m *netMove) close() {
	if m != nil {
		m.host.close()
		m.box.close()
	}
}

func (m *netMove) look(d *netDevice) error {
	if !d.template() {
		switch taken, err := m.box.has(d.as); {
		case err != nil:
			return err
		case taken:
			return fmt.Errorf("the container's network namespace: %w: a link %q", unix.EEXIST, d.as)
		}
	}
	link, err := m.host.find(d.name)
	d.link = link
	return err
}

// move takes a name along that nobody has: whatever the other namespace has by the link's own name, and whichever number the
// link gets there, it is found again.
func (m *netMove) move(d *netDevice) error {
	name, err := freshName()
	if err != nil {
		return err
	}
	return m.host.moveTo(m.box, &d.link, name)
}

func (m *netMove) rename(d *netDevice) error { return m.box.rename(&d.link, d.as) }

// giveBack makes the link the host's again, as it was: but for routes that led over it, which went when it went.
func (m *netMove) giveBack(d *netDevice) error {
	name, err := freshName()
	if err != nil {
		return err
	}
	if err := m.box.moveTo(m.host, &d.link, name); err != nil {
		return err
	}
	err = m.host.rename(&d.link, d.name)
	err = errors.Join(err, m.host.addAddresses(&d.link, d.name))
	if d.link.up {
		err = errors.Join(err, m.host.up(&d.link))
	}
	return err
}
