package vmm

import (
	"fmt"
	"io"
	"os"
	"time"

	"tandem/boot"
	"tandem/internal/plan"
	"tandem/kvm"
	"tandem/virtio/memory"
	"tandem/vmm/boottimer"
	"tandem/vmm/bus"
	"tandem/vmm/layout"
	"tandem/vmm/pci"
)

// setup turns a spec into a plan, and the plan's steps fill in vm. Nothing here
// touches the host but to read the files that the spec names.
//
// The order of the phases is that of giving back, reversed: memory comes first,
// as everything else may refer to it until it is closed itself.
type setup struct {
	spec  *Spec
	vm    *VM
	plan  *plan.Plan
	boot  *boot.Plan // nil for an Image
	files []*os.File
	kern  []*boot.Kernel
}

// processStarted is when this process began, as near as a program can tell by
// itself without the kernel's coarse ticks.
var processStarted = time.Now()

func newSetup(spec Spec) (*setup, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.Name == "" {
		spec.Name = "vm"
	}
	if spec.Started.IsZero() {
		spec.Started = processStarted
	}
	vm := &VM{
		spec:  spec,
		pio:   bus.New("pio", 0xFFFF),
		mmio:  bus.New("mmio", 1<<52-1), // as wide as physical addresses get
		pci:   pci.New(),
		timer: boottimer.New(spec.Started, processTime),
		cpus:  make([]*cpu, spec.CPUs),
	}
	vm.life.init()
	for id := range vm.cpus {
		vm.cpus[id] = &cpu{vm: vm, id: id, trace: spec.Trace.CPU(id)}
	}
	s := &setup{spec: &vm.spec, vm: vm, plan: plan.New("set up " + spec.Name)}
	if err := s.planBoot(); err != nil {
		s.close()
		return nil, err
	}
	s.planMemory()
	s.planHost()
	s.planInterrupts()
	s.planPlatform()
	s.planVirtio()
	s.planImage()
	s.planCPUs()
	return s, nil
}

// close closes the files that were needed for setting up only.
func (s *setup) close() {
	for _, f := range s.files {
		f.Close()
	}
	for _, k := range s.kern {
		k.Close()
	}
}

// closing is the Undo of a step that filled in what get returns.
func closing[T io.Closer](get func() T) func() error {
	return func() error { return get().Close() }
}

func (s *setup) planMemory() {
	p, vm := s.plan, s.vm
	p.Phase("guest memory")
	ranges := layout.RAM(s.spec.Memory)
	regions := make([]memory.Region, len(ranges))
	for i, r := range ranges {
		p.Add(plan.Step{
			Op: "mmap", Object: fmt.Sprintf("RAM %d", i),
			Args: []plan.Arg{plan.A("gpa", plan.Hex(r.GPA)), plan.A("size", r.Size), plan.A("pages", s.pageKind())},
			Why:  ramReason(i, len(ranges)),
			Do: func() (err error) {
				regions[i], err = s.spec.mapRAM(r.GPA, r.Size)
				return err
			},
			Undo: func() error { return regions[i].Unmap() },
		})
	}
	p.Add(plan.Step{
		Op: "index", Object: "guest memory",
		Why: "one checked way from a guest's address to bytes, for every device",
		Do: func() (err error) {
			vm.memory, err = memory.New(regions...)
			return err
		},
	})
}

func (s *setup) pageKind() string {
	kind := "4K"
	switch s.spec.HugePages {
	case HugePage2M:
		kind = "2M"
	case HugePage1G:
		kind = "1G"
	}
	if s.spec.SharedMemory {
		kind += ",shared"
	}
	return kind
}

func ramReason(i, n int) string {
	switch {
	case n == 1:
		return "all of RAM: it ends below the hole for 32-bit devices"
	case i == 0:
		return "RAM up to the hole for 32-bit devices"
	}
	return "the rest of RAM, above 4 GiB"
}

// needed is what this machine cannot do without.
var needed = []kvm.Capability{
	kvm.CapUserMemory, kvm.CapExtCPUID, kvm.CapIRQChip, kvm.CapPIT2, kvm.CapMPState,
	kvm.CapSetTSSAddr, kvm.CapSetIdentityMapAddr, kvm.CapIRQRouting, kvm.CapIRQFD,
	kvm.CapIOEventFD, kvm.CapSignalMSI, kvm.CapImmediateExit,
}

func (s *setup) planHost() {
	p, vm := s.plan, s.vm
	p.Phase("the host's KVM")
	p.Add(
		plan.Step{
			Op: "open", Object: kvm.Path,
			Why: "every VM begins at this device; KVM_GET_API_VERSION must say 12",
			Do: func() (err error) {
				vm.sys, err = kvm.OpenTraced(s.spec.Trace.KVM())
				return err
			},
			Undo: closing(func() *kvm.System { return vm.sys }),
		},
		plan.Step{
			Op: "KVM_CHECK_EXTENSION", Object: kvm.Path,
			Args: []plan.Arg{plan.A("capabilities", len(needed)), plan.A("vcpus", s.spec.CPUs)},
			Why:  "an old or foreign KVM is told by the name of what it lacks",
			Do:   s.checkHost,
		},
		plan.Step{
			Op: "KVM_CREATE_VM", Object: kvm.Path,
			Why: "an empty VM: no memory, no devices, no vCPUs",
			Do: func() (err error) {
				vm.kvm, err = vm.sys.CreateVM()
				return err
			},
			Undo: closing(func() *kvm.VM { return vm.kvm }),
		},
	)
	for i, r := range layout.RAM(s.spec.Memory) {
		p.Add(plan.Step{
			Op: "KVM_SET_USER_MEMORY_REGION", Object: "vm",
			Args: []plan.Arg{plan.A("slot", i), plan.A("gpa", plan.Hex(r.GPA)), plan.A("size", r.Size)},
			Why:  fmt.Sprintf("RAM %d is memory of the guest; what no slot covers exits as MMIO", i),
			Do: func() error {
				return vm.kvm.SetMemory(kvm.MemorySlot{Slot: uint32(i), GPA: r.GPA, Memory: vm.memory.Regions()[i].Bytes})
			},
		})
	}
}

// checkHost holds the host against what the spec needs.
func (s *setup) checkHost() error {
	if err := s.vm.sys.Require(needed...); err != nil {
		return err
	}
	most, err := s.vm.sys.Check(kvm.CapMaxVCPUs)
	if err != nil {
		return err
	}
	if s.spec.CPUs > most {
		return &FieldError{"CPUs", s.spec.CPUs, fmt.Sprintf("this host's KVM can give %d", most)}
	}
	return nil
}

func (s *setup) planInterrupts() {
	p, vm := s.plan, s.vm
	p.Phase("interrupt controllers and timers, in the kernel")
	p.Add(
		plan.Step{
			Op: "KVM_SET_IDENTITY_MAP_ADDR", Object: "vm", Args: []plan.Arg{plan.A("gpa", plan.Hex(layout.KVMIdentityMap))},
			Why: "Intel: a page for real mode's page table, which must not lie in RAM",
			Do:  func() error { return vm.kvm.SetIdentityMapAddr(layout.KVMIdentityMap) },
		},
		plan.Step{
			Op: "KVM_SET_TSS_ADDR", Object: "vm", Args: []plan.Arg{plan.A("gpa", plan.Hex(layout.KVMTSS))},
			Why: "Intel: three pages for virtual-8086 mode's task state",
			Do:  func() error { return vm.kvm.SetTSSAddr(layout.KVMTSS) },
		},
		plan.Step{
			Op: "KVM_CREATE_IRQCHIP", Object: "vm",
			Why: "IOAPIC, PICs and local APICs in the kernel: an interrupt costs no exit to the monitor",
			Do:  func() error { return vm.kvm.CreateIRQChip() },
		},
		plan.Step{
			Op: "KVM_CREATE_PIT2", Object: "vm",
			Why: "the old timer, which kernels calibrate others with; port 0x61 goes with it",
			Do:  func() error { return vm.kvm.CreatePIT(true) },
		},
		plan.Step{
			Op: "KVM_CHECK_EXTENSION", Object: "vm", Args: []plan.Arg{plan.A("capability", kvm.CapIRQRouting)},
			Why: "how many GSIs can be routed: from 24 on each can be a device's message",
			Do: func() error {
				limit, err := vm.kvm.Check(kvm.CapIRQRouting)
				if err != nil {
					return err
				}
				vm.irq = newInterrupts(vm.kvm, limit)
				return nil
			},
		},
	)
}
