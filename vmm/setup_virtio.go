package vmm

import (
	"errors"
	"fmt"
	"io"

	"tandem/internal/plan"
	"tandem/virtio"
	virtiommio "tandem/virtio/mmio"
	virtiopci "tandem/virtio/pci"
	"tandem/vmm/layout"
)

// slot is where a virtio device is plugged in.
type slot struct {
	*Device
	transport Transport
	number    int // PCI device number, or virtio-mmio slot
	gsi       uint32
}

// slots gives every device its place: PCI devices come after the host bridge,
// virtio-mmio devices from the first window on.
func (s *Spec) slots() []slot {
	var list []slot
	nextPCI, nextMMIO := 1, 0
	for i := range s.Devices {
		d := &s.Devices[i]
		if d.Transport == MMIO {
			list = append(list, slot{d, MMIO, nextMMIO, layout.VirtioMMIOGSI(nextMMIO)})
			nextMMIO++
			continue
		}
		list = append(list, slot{d, PCI, nextPCI, layout.PCIINTxGSI(nextPCI, 0)})
		nextPCI++
	}
	return list
}

// planVirtio opens and plugs in the virtio devices.
func (s *setup) planVirtio() {
	slots := s.spec.slots()
	if len(slots) == 0 {
		return
	}
	s.plan.Phase("virtio devices")
	next := uint32(layout.PCIWindow)
	for _, d := range slots {
		s.planDevice(d, &next)
	}
}

// planDevice is one device: opened, then given a transport. next is the first free
// address in the PCI window.
func (s *setup) planDevice(d slot, next *uint32) {
	var device virtio.Device
	var plugged io.Closer
	s.plan.Add(plan.Step{
		Op: "open", Object: d.Name,
		Args: []plan.Arg{plan.A("type", d.Type), plan.A("source", d.Source)},
		Why:  "what stands behind the device",
		Do: func() (err error) {
			device, err = d.Open()
			return err
		},
		Undo: func() error {
			if c, ok := device.(io.Closer); ok {
				return c.Close()
			}
			return nil
		},
	})
	step := plan.Step{
		Op: "plug", Object: d.Name,
		Undo: func() error { return plugged.Close() },
	}
	switch d.transport {
	case MMIO:
		step.Args = []plan.Arg{
			plan.A("transport", d.transport), plan.A("gpa", plan.Hex(layout.VirtioMMIOAddr(d.number))), plan.A("gsi", d.gsi),
		}
		step.Why = "registers in memory; the guest finds them in the DSDT"
		step.Do = func() (err error) {
			plugged, err = s.plugMMIO(d, device)
			return err
		}
	default:
		step.Args = []plan.Arg{
			plan.A("transport", d.transport), plan.A("device", fmt.Sprintf("00:%02x.0", d.number)), plan.A("gsi", d.gsi),
		}
		step.Why = "a PCI function; its BARs are placed as firmware would"
		step.Do = func() (err error) {
			plugged, err = s.plugPCI(d, device, next)
			return err
		}
	}
	s.plan.Add(step)
}

func (s *setup) plugMMIO(d slot, device virtio.Device) (io.Closer, error) {
	vm := s.vm
	return virtiommio.New(device, vm.memory, newHost(vm, d.Name), layout.VirtioMMIOAddr(d.number), vm.irq.line(d.gsi),
		virtiommio.Options{
			Direct:   d.Direct,
			Observer: s.spec.Trace.Queues(d.Name),
			Report:   s.report(d.Name),
		})
}

func (s *setup) plugPCI(d slot, device virtio.Device, next *uint32) (io.Closer, error) {
	vm := s.vm
	f, err := virtiopci.New(device, vm.memory, newHost(vm, d.Name), virtiopci.Options{
		Line:     vm.irq.line(d.gsi),
		GSI:      uint8(d.gsi),
		Direct:   d.Direct,
		Observer: s.spec.Trace.Queues(d.Name),
		Report:   s.report(d.Name),
	})
	if err != nil {
		return nil, err
	}
	err = vm.pci.Add(d.number, f)
	if err == nil {
		_, err = vm.pci.Assign(d.number, next, layout.PCIWindow+layout.PCIWindowSize)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// report tells of a device's error that the guest's driver caused or that has
// nowhere else to go.
func (s *setup) report(device string) func(error) {
	return func(err error) {
		s.spec.Trace.Report(device, err)
		if s.spec.Report != nil {
			s.spec.Report(device, err)
		}
	}
}
