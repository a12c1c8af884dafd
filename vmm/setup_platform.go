package vmm

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
	"tandem/vmm/bus"
	"tandem/vmm/i8042"
	"tandem/vmm/layout"
	"tandem/vmm/pci"
	"tandem/vmm/power"
	"tandem/vmm/rtc"
	"tandem/vmm/serial"
)

// post is port 0x80: writes are a delay, and nothing is there to read.
type post struct{}

func (post) Read(_ uint64, p []byte) {
	for i := range p {
		p[i] = 0xFF
	}
}

func (post) Write(uint64, []byte) {}

// planPlatform puts the devices that every PC has on the buses.
func (s *setup) planPlatform() {
	p, vm := s.plan, s.vm
	p.Phase("platform devices")
	for i, at := range [...]struct {
		port uint64
		gsi  uint32
	}{{layout.COM1, layout.COM1GSI}, {layout.COM2, layout.COM2GSI}} {
		name := fmt.Sprintf("com%d", i+1)
		p.Add(plan.Step{
			Op: "attach", Object: name,
			Args: []plan.Arg{plan.A("port", plan.Hex(at.port)), plan.A("gsi", at.gsi)},
			Why:  "a 16550: console on the first, whatever the user connects on the second",
			Do: func() error {
				port := s.spec.Serial[i]
				vm.serial[i] = serial.New(vm.irq.line(at.gsi), port.In, port.Out)
				return s.ports(name, at.port, serial.Ports, vm.serial[i])
			},
			// Its output was waited for when the machine ended; here a
			// machine that never started lets its goroutines go.
			Undo: func() error { vm.serial[i].Close(0); return nil },
		})
	}
	p.Add(
		plan.Step{
			Op: "attach", Object: "rtc",
			Args: []plan.Arg{plan.A("port", plan.Hex(layout.CMOSIndex)), plan.A("gsi", layout.RTCGSI)},
			Why:  "the time of day, for guests without kvmclock",
			Do: func() error {
				vm.rtc = rtc.New(vm.irq.line(layout.RTCGSI), time.Now)
				return s.ports("rtc", layout.CMOSIndex, rtc.Ports, vm.rtc)
			},
			Undo: func() error { vm.rtc.Close(); return nil },
		},
		plan.Step{
			Op: "attach", Object: "i8042",
			Args: []plan.Arg{plan.A("ports", plan.Hex(layout.I8042Data)), plan.A("and", plan.Hex(layout.I8042Command))},
			Why:  "no keyboard, but the reset line that old kernels pull",
			Do: func() error {
				c := i8042.New(func() { vm.reset("keyboard controller") })
				if err := s.ports("i8042", layout.I8042Data, 1, c.Data()); err != nil {
					return err
				}
				return s.ports("i8042", layout.I8042Command, 1, c.Command())
			},
		},
		plan.Step{
			Op: "attach", Object: "power",
			Args: []plan.Arg{plan.A("port", plan.Hex(layout.SleepControl))},
			Why:  "ACPI's sleep and reset registers: power-off and reboot",
			Do: func() error {
				r := power.New(vm.powerOff, func() { vm.reset("ACPI reset register") })
				return s.ports("power", layout.SleepControl, power.Ports, r)
			},
		},
		plan.Step{
			Op: "attach", Object: "boot timer",
			Args: []plan.Arg{plan.A("port", plan.Hex(layout.BootTimer))},
			Why:  "the guest's init writes a byte: the time from start to there is known",
			Do:   func() error { return s.ports("boot timer", layout.BootTimer, 1, vm.timer) },
		},
		plan.Step{
			Op: "attach", Object: "post",
			Args: []plan.Arg{plan.A("port", plan.Hex(layout.POST))},
			Why:  "writes to it are a short delay; none may be taken for a missing device",
			Do:   func() error { return s.ports("post", layout.POST, 1, post{}) },
		},
		plan.Step{
			Op: "attach", Object: "pci ports",
			Args: []plan.Arg{plan.A("port", plan.Hex(layout.PCIAddress))},
			Why:  "PCI configuration the old way",
			Do:   func() error { return s.ports("pci ports", layout.PCIAddress, pci.PortCount, vm.pci.Ports()) },
		},
		plan.Step{
			Op: "attach", Object: "pci ecam",
			Args: []plan.Arg{plan.A("gpa", plan.Hex(layout.ECAM)), plan.A("size", layout.ECAMSize)},
			Why:  "PCI Express configuration: 4 KiB a function, in memory",
			Do: func() error {
				_, err := vm.mmio.Map("pci ecam", layout.ECAM, layout.ECAMSize, vm.pci.ECAM())
				return err
			},
		},
		plan.Step{
			Op: "observe", Object: "buses",
			Why: "for --trace bus; nothing is called if it is off",
			Do: func() error {
				vm.pio.Observe(s.spec.Trace.Bus(vm.pio.Name()))
				vm.mmio.Observe(s.spec.Trace.Bus(vm.mmio.Name()))
				return nil
			},
		},
	)
}

// ports puts a device on the PIO bus.
func (s *setup) ports(name string, base, size uint64, h bus.Handler) error {
	_, err := s.vm.pio.Map(name, base, size, h)
	return err
}

// processTime is the processor time that this process has used, its guests'
// included.
func processTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
