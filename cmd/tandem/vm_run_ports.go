package main

import (
	"fmt"
	"io"
	"slices"

	"tandem/virtio"
	"tandem/virtio/console"
	"tandem/vmm"
)

// agentPortName is the virtio-serial port that carries the agent's session, where the guest's kernel has a driver for it.
const agentPortName = "tandem.agent"

// consoleDriver is the module of ports and of the virtio console.
const consoleDriver = "virtio_console"

// portsDevice is the name of the device with the ports.
const portsDevice = "ports"

// portNames are the ports of the recipe by number.
func (r *recipe) portNames() (ports []console.PortSpec) {
	if r.AgentPort {
		ports = append(ports, console.PortSpec{Name: agentPortName})
	}
	return ports
}

// portDevices is the device that has the ports; nobody is connected to them yet.
func (r *recipe) portDevices() []vmm.Device {
	spec := console.Spec{Ports: r.portNames()}
	if len(spec.Ports) == 0 {
		return nil
	}
	return []vmm.Device{{
		Name: portsDevice, Type: virtio.TypeConsole, Transport: r.Transport, Source: fmt.Sprintf("%d ports", len(spec.Ports)),
		Open: func() (virtio.Device, error) { return console.New(spec) },
	}}
}

// plugPorts connects the ports, when the machine is made.
func (g *guestRun) plugPorts(spec *vmm.Spec, agent io.ReadWriter) {
	i := slices.IndexFunc(spec.Devices, func(d vmm.Device) bool { return d.Name == portsDevice })
	if i < 0 {
		return
	}
	spec.Devices[i].Open = func() (virtio.Device, error) {
		d, err := console.New(console.Spec{Ports: g.portNames()})
		if err != nil {
			return nil, err
		}
		for _, p := range d.Ports() {
			if p.Name() == agentPortName {
				_, err = p.Connect(agent, agent)
			}
		}
		return d, err
	}
}
