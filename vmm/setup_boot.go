package vmm

import (
	"crypto/rand"
	"fmt"
	"os"

	"tandem/boot"
	"tandem/boot/acpi"
	"tandem/internal/plan"
	"tandem/vmm/layout"
)

// The ACPI tables lie where a PC's firmware has them, in the legacy hole that no
// kernel takes for RAM.
const (
	acpiGPA  = 0xE_0000
	acpiSize = 0x2_0000
)

// seedSize is what Linux credits as a full seed (its ChaCha20 key).
const seedSize = 32

// planBoot reads the headers of what is to be booted and works out where all of it
// goes.
func (s *setup) planBoot() error {
	k := s.spec.Kernel
	if k == nil {
		return nil
	}
	kernel, protocol, err := s.openKernel(k)
	if err != nil {
		return err
	}
	spec := boot.Spec{
		Kernel: kernel, Protocol: protocol, Cmdline: k.Cmdline,
		Reserved: []boot.Range{{GPA: layout.ECAM, Size: layout.ECAMSize}},
		Seed:     make([]byte, seedSize),
		Reset:    &boot.PortWrite{Port: layout.Reset, Value: layout.ResetValue},
	}
	rand.Read(spec.Seed) // never fails
	for _, r := range layout.RAM(s.spec.Memory) {
		spec.Memory = append(spec.Memory, boot.Range{GPA: r.GPA, Size: r.Size})
	}
	if spec.Initrd, err = s.openInitrd(k.Initrd); err != nil {
		return err
	}
	if spec.ACPI, err = acpi.Build(s.spec.acpi()); err != nil {
		return err
	}
	s.boot, err = boot.NewPlan(spec)
	return err
}

// openKernel opens the kernel and unpacks it, if that is the way in.
func (s *setup) openKernel(k *Kernel) (*boot.Kernel, boot.Protocol, error) {
	kernel, err := boot.Open(k.Path)
	if err != nil {
		return nil, 0, err
	}
	s.kern = append(s.kern, kernel)
	switch k.Entry {
	case EntryDecompress:
		return kernel, boot.Linux64, nil
	case EntryPVH:
		kernel, err = s.unpack(kernel, k.Cache)
		return kernel, boot.PVH, err
	}
	kernel, err = s.unpack(kernel, k.Cache)
	return kernel, boot.Auto, err
}

func (s *setup) unpack(kernel *boot.Kernel, cache string) (*boot.Kernel, error) {
	inner, err := boot.Unpack(kernel, cache)
	if err != nil {
		return nil, err
	}
	s.kern = append(s.kern, inner)
	return inner, nil
}

// openInitrd opens the parts of the initial RAM disk.
func (s *setup) openInitrd(parts []Part) ([]boot.Part, error) {
	var list []boot.Part
	for i, p := range parts {
		if p.Path == "" {
			list = append(list, boot.BytesPart(fmt.Sprintf("initrd %d", i), p.Bytes))
			continue
		}
		f, err := os.Open(p.Path)
		if err != nil {
			return nil, fmt.Errorf("vmm: initrd: %w", err)
		}
		s.files = append(s.files, f)
		part, err := boot.FilePart(p.Path, f, p.Immutable)
		if err != nil {
			return nil, err
		}
		list = append(list, part)
	}
	return list, nil
}

// acpi describes the machine to its guest.
func (s *Spec) acpi() acpi.Spec {
	edge := func(gsi uint32) acpi.Interrupt { return acpi.Interrupt{GSI: gsi} }
	rtc := edge(layout.RTCGSI)
	spec := acpi.Spec{
		GPA: acpiGPA, Limit: acpiSize,
		CPUs: s.CPUs, LocalAPIC: layout.LAPIC, IOAPIC: layout.IOAPIC, IOAPICID: 0,
		SleepControl: layout.SleepControl, SleepStatus: layout.SleepStatus, SleepTypeS5: layout.SleepTypeS5,
		Reset: layout.Reset, ResetValue: layout.ResetValue,
		PCI: &acpi.PCI{
			ECAM:   layout.ECAM,
			Memory: []acpi.Window{{Base: layout.PCIWindow, Size: layout.PCIWindowSize}},
		},
		Serial: []acpi.Serial{
			{Port: layout.COM1, Interrupt: edge(layout.COM1GSI)},
			{Port: layout.COM2, Interrupt: edge(layout.COM2GSI)},
		},
		RTC: &acpi.RTC{Port: layout.CMOSIndex, Interrupt: &rtc},
	}
	for i := range spec.PCI.INTx {
		spec.PCI.INTx[i] = layout.INTxGSI + uint32(i)
	}
	for _, d := range s.slots() {
		if d.transport == MMIO {
			spec.VirtioMMIO = append(spec.VirtioMMIO, acpi.VirtioMMIO{
				Registers: acpi.Window{Base: layout.VirtioMMIOAddr(d.number), Size: layout.VirtioMMIOSize},
				Interrupt: acpi.Interrupt{GSI: d.gsi, Level: true},
			})
		}
	}
	return spec
}

// planImage puts what runs first into memory.
func (s *setup) planImage() {
	s.plan.Phase("what lies in memory before the first instruction")
	if im := s.spec.Image; im != nil {
		s.plan.Add(plan.Step{
			Op: "copy", Object: "image",
			Args: []plan.Arg{plan.A("gpa", plan.Hex(im.GPA)), plan.A("size", len(im.Code)), plan.A("mode", im.Mode)},
			Why:  "the program that the vCPU starts in",
			Do: func() error {
				to, err := s.vm.memory.Slice(im.GPA, uint64(len(im.Code)))
				if err != nil {
					return err
				}
				copy(to, im.Code)
				return nil
			},
		})
		return
	}
	for _, seg := range s.boot.Segments {
		s.plan.Add(s.segmentStep(seg))
	}
}

// segmentStep is one segment of the boot plan. A file's whole pages are mapped,
// private to the guest, where its memory allows it; the rest is copied.
func (s *setup) segmentStep(seg boot.Segment) plan.Step {
	mappable := s.spec.HugePages == 0 && !s.spec.SharedMemory
	step := plan.Step{
		Op: "copy", Object: seg.Name,
		Args: []plan.Arg{plan.A("gpa", plan.Hex(seg.GPA)), plan.A("size", seg.Size)},
		Why:  seg.Why,
	}
	_, pages, _ := seg.Split()
	switch {
	case seg.File == nil && seg.Data == nil:
		step.Op = "leave zero" // memory that nobody has touched is
		return step
	case mappable && pages.Size > 0:
		step.Op = "mmap"
		step.Args = append(step.Args, plan.A("flags", "MAP_PRIVATE|MAP_FIXED"), plan.A("mapped", pages.Size))
	}
	if seg.File != nil {
		step.Args = append(step.Args, plan.A("file", seg.File.Name()), plan.A("offset", plan.Hex(seg.Offset)))
	}
	step.Do = func() error {
		one := boot.Plan{Segments: []boot.Segment{seg}}
		return one.Load(image{s.vm.memory, mappable})
	}
	return step
}
