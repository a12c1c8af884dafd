package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"tandem/virtio"
	"tandem/virtio/console"
	"tandem/vmm"
)

// agentPortName is the virtio-serial port that carries the agent's session, where the guest's kernel has a driver for it.
const agentPortName = "tandem.agent"

// consoleDriver is the module of ports and of the virtio console.
const consoleDriver = "virtio_console"

// Names of devices.
const (
	portsDevice   = "ports"
	consoleDevice = "console"
)

// Words of --console-device, and the terminal behind the second.
const (
	consoleSerial = "serial"
	consoleVirtio = "virtio"

	virtioTerminal = "/dev/hvc0"
)

// portSpec is what one --port asks for: a virtio-serial port, and what it leads to on the host.
type portSpec struct {
	Name   string `json:"name"`
	Socket string `json:"socket,omitempty"`
	File   string `json:"file,omitempty"`
}

// parsePort reads name=NAME,socket=PATH or name=NAME,file=PATH.
func parsePort(text string) (p portSpec, err error) {
	for word := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(word, "=")
		var to *string
		switch key {
		case "name":
			to = &p.Name
		case "socket":
			to = &p.Socket
		case "file":
			to = &p.File
		}
		if to == nil || value == "" || *to != "" {
			return p, fmt.Errorf("%q: want name=NAME and either socket=PATH or file=PATH, each once", word)
		}
		*to = value
	}
	switch {
	case (p.Socket == "") == (p.File == ""):
		return p, errors.New("want either socket=PATH or file=PATH")
	case p.Name == agentPortName:
		return p, fmt.Errorf("%s is tandem's own", agentPortName)
	case len(p.Socket) >= len(unix.RawSockaddrUnix{}.Path):
		return p, fmt.Errorf("the path of a socket has at most %d bytes", len(unix.RawSockaddrUnix{}.Path)-1)
	}
	for _, path := range []*string{&p.Socket, &p.File} { // the lab has another working folder
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return p, err
			}
		}
	}
	return p, console.CheckName(p.Name)
}

// wirePorts reads what --port and --console-device ask for.
func (f *vmRunFlags) wirePorts(r *recipe) error {
	for _, text := range f.ports {
		p, err := parsePort(text)
		if err != nil {
			return flagError("port", text, err)
		}
		if slices.ContainsFunc(r.Ports, func(other portSpec) bool { return other.Name == p.Name }) {
			return flagError("port", text, "another port has that name")
		}
		r.Ports = append(r.Ports, p)
	}
	if len(r.Ports) >= console.MaxPorts {
		return flagError("port", f.ports[console.MaxPorts-1], fmt.Sprintf("at most %d ports", console.MaxPorts-1))
	}
	if r.VirtioConsole = f.consoleDevice.value == consoleVirtio; r.VirtioConsole && r.Console != consoleStdio || len(r.Command) > 0 && r.VirtioConsole {
		return flagError("console-device", consoleVirtio, "it is for a person at the console: --console stdio, and no command")
	}
	return nil
}

// portNames are the ports of the recipe by number.
func (r *recipe) portNames() (ports []console.PortSpec) {
	if r.AgentPort {
		ports = append(ports, console.PortSpec{Name: agentPortName})
	}
	for _, p := range r.Ports {
		ports = append(ports, console.PortSpec{Name: p.Name})
	}
	return ports
}

// portDevices are the devices with the ports and the console; nobody is connected to them yet.
func (r *recipe) portDevices() (list []vmm.Device) {
	add := func(name, source string, spec console.Spec) {
		list = append(list, vmm.Device{
			Name: name, Type: virtio.TypeConsole, Transport: r.Transport, Source: source,
			Open: func() (virtio.Device, error) { return console.New(spec) },
		})
	}
	if ports := r.portNames(); len(ports) > 0 {
		var names []string
		for _, p := range ports {
			names = append(names, p.Name)
		}
		add(portsDevice, strings.Join(names, ", "), console.Spec{Ports: ports})
	}
	if r.VirtioConsole {
		add(consoleDevice, consoleStdio, console.Spec{Ports: []console.PortSpec{{Console: true}}, Single: true})
	}
	return list
}

// replaceOpen has another function open the device of a name; nothing happens if there is none.
func replaceOpen(spec *vmm.Spec, name string, open func() (virtio.Device, error)) {
	i := slices.IndexFunc(spec.Devices, func(d vmm.Device) bool { return d.Name == name })
	if i >= 0 {
		spec.Devices[i].Open = open
	}
}

// plugPorts connects the ports and the console, when the machine is made. What it gives back ends what is behind them,
// once the machine has ended; it may be called twice.
func (g *guestRun) plugPorts(ctx context.Context, spec *vmm.Spec, agent io.ReadWriter) (end func() error, err error) {
	var closers []io.Closer
	var serving sync.WaitGroup
	end = sync.OnceValue(func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c.Close())
		}
		serving.Wait()
		return errors.Join(errs...)
	})
	connect := map[string]func(*console.Port) error{
		agentPortName: func(p *console.Port) error {
			_, err := p.Connect(agent, agent)
			return err
		},
	}
	for _, p := range g.Ports {
		if p.File != "" {
			file, err := os.Create(p.File)
			if err != nil {
				return end, errors.Join(flagError("port", p.Name, err), end())
			}
			closers = append(closers, file)
			connect[p.Name] = func(port *console.Port) error {
				_, err := port.Connect(nil, file)
				return err
			}
			continue
		}
		listener, err := net.Listen("unix", p.Socket)
		if err != nil {
			return end, errors.Join(flagError("port", p.Name, err), end())
		}
		closers = append(closers, listener)
		connect[p.Name] = func(port *console.Port) error {
			serving.Go(func() { g.reportPort(port.Serve(listener)) })
			return nil
		}
	}
	replaceOpen(spec, portsDevice, func() (virtio.Device, error) {
		d, err := console.New(console.Spec{Ports: g.portNames(), Report: g.reportPort})
		if err != nil {
			return nil, err
		}
		for _, p := range d.Ports() {
			if err := connect[p.Name()](p); err != nil {
				return nil, errors.Join(err, d.Close())
			}
		}
		return d, nil
	})
	g.plugConsole(ctx, spec)
	return end, nil
}

// plugConsole has the terminal be the virtio console's. The serial port keeps what the kernel and init say.
func (g *guestRun) plugConsole(ctx context.Context, spec *vmm.Spec) {
	if !g.VirtioConsole {
		return
	}
	in, out := spec.Serial[0].In, spec.Serial[0].Out
	spec.Serial[0].In = nil
	replaceOpen(spec, consoleDevice, func() (virtio.Device, error) {
		d, err := console.New(console.Spec{Ports: []console.PortSpec{{Console: true}}, Single: true, Report: g.reportPort})
		if err != nil {
			return nil, err
		}
		if g.terminal != nil {
			go g.terminal.Resized(ctx, func(columns, rows int) { d.SetSize(uint16(columns), uint16(rows)) })
		}
		_, err = d.Ports()[0].Connect(in, out)
		return d, err
	})
}

// reportPort tells of a port's stream that has failed, unless that is how peers go away.
func (g *guestRun) reportPort(err error) {
	for _, gone := range []error{nil, io.ErrClosedPipe, net.ErrClosed, os.ErrClosed, unix.EPIPE, unix.ECONNRESET, os.ErrDeadlineExceeded} {
		if errors.Is(err, gone) {
			return
		}
	}
	fmt.Fprintf(g.stderr, "tandem: %v\n", err)
}
