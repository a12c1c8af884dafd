package vmm

import (
	"fmt"

	"tandem/boot"
	"tandem/internal/plan"
	"tandem/kvm"
)

// planCPUs makes the vCPUs and sets them as firmware would leave them: the first
// at the kernel's entry, the others waiting for it to wake them.
func (s *setup) planCPUs() {
	p, vm := s.plan, s.vm
	p.Phase("vCPUs")
	top := topology{cpus: s.spec.CPUs, nested: s.spec.Nested}
	p.Add(plan.Step{
		Op: "KVM_GET_SUPPORTED_CPUID", Object: kvm.Path,
		Why: "what the host's processor has and KVM can virtualize",
		Do: func() (err error) {
			deadline, err := vm.sys.Check(kvm.CapTSCDeadlineTimer)
			if err != nil {
				return err
			}
			top.tscDeadline = deadline != 0
			vm.cpuid, err = vm.sys.SupportedCPUID()
			return err
		},
	})
	for _, c := range vm.cpus {
		s.planCPU(c, &top)
	}
}

func (s *setup) planCPU(c *cpu, top *topology) {
	object := fmt.Sprintf("vcpu %d", c.id)
	s.plan.Add(
		plan.Step{
			Op: "KVM_CREATE_VCPU", Object: "vm", Args: []plan.Arg{plan.A("id", c.id)},
			Why: "a vCPU with this APIC id, and its struct kvm_run shared with the kernel",
			Do: func() (err error) {
				c.vcpu, err = s.vm.kvm.CreateVCPU(c.id)
				return err
			},
			Undo: closing(func() *kvm.VCPU { return c.vcpu }),
		},
		plan.Step{
			Op: "KVM_SET_CPUID2", Object: object, Args: []plan.Arg{plan.A("apic", c.id), plan.A("cores", top.cpus)},
			Why: "the host's features, this vCPU's place in the package, no counters" + nestedReason(s.spec.Nested),
			Do:  func() error { return c.vcpu.SetCPUID(top.cpuid(s.vm.cpuid, uint32(c.id))) },
		},
		plan.Step{
			Op: "KVM_SET_MSRS", Object: object, Args: []plan.Arg{plan.A("msrs", len(firmwareMSRs()))},
			Why: "fast string operations on; memory is write-back, which page attributes depend on",
			Do:  func() error { return c.vcpu.SetMSRs(firmwareMSRs()) },
		},
		plan.Step{
			Op: "KVM_SET_LAPIC", Object: object,
			Why: "LINT1 is NMI; LINT0 on the first vCPU is the old interrupt controllers'",
			Do: func() error {
				l, err := c.vcpu.LAPIC()
				if err != nil {
					return err
				}
				wireLAPIC(&l, c.id)
				return c.vcpu.SetLAPIC(l)
			},
		},
	)
	if c.id != 0 {
		s.plan.Add(plan.Step{
			Op: "KVM_SET_MP_STATE", Object: object, Args: []plan.Arg{plan.A("state", kvm.MPUninitialized)},
			Why: "it waits in the kernel until the first vCPU sends INIT and SIPI",
			Do:  func() error { return c.vcpu.SetMPState(kvm.MPUninitialized) },
		})
		return
	}
	s.plan.Add(plan.Step{
		Op: "KVM_SET_SREGS, KVM_SET_REGS", Object: object, Args: s.entryArgs(),
		Why: "the state that the boot protocol promises the kernel",
		Do:  func() error { return s.enter(c.vcpu) },
	})
}

func nestedReason(nested bool) string {
	if nested {
		return ""
	}
	return " and no nested virtualization"
}

func (s *setup) entryArgs() []plan.Arg {
	if im := s.spec.Image; im != nil {
		return []plan.Arg{plan.A("mode", im.Mode), plan.A("rip", plan.Hex(im.GPA))}
	}
	mode := "64-bit"
	if s.boot.Entry.Mode == boot.Protected32 {
		mode = "32-bit"
	}
	return []plan.Arg{plan.A("mode", mode), plan.A("rip", plan.Hex(s.boot.Entry.RIP))}
}

// enter sets the first vCPU's registers.
func (s *setup) enter(v *kvm.VCPU) error {
	sregs, err := v.Sregs()
	if err != nil {
		return err
	}
	var regs kvm.Regs
	if im := s.spec.Image; im != nil {
		regs = enterImage(im, &sregs)
	} else {
		regs = enter(s.boot.Entry, &sregs)
	}
	if err := v.SetSregs(sregs); err != nil {
		return err
	}
	return v.SetRegs(regs)
}
