// Package vmm is the machine: what KVM gives (processors, memory, interrupt
// controllers) put together with what it does not (everything else) into
// something that a kernel can boot on.
//
// # What is whose
//
//	        ┌──────────────────────── the guest ────────────────────────┐
//	        │  vCPU 0      vCPU 1 …        RAM                          │
//	        └────┬────────────┬─────────────┬───────────────────────────┘
//	KVM          │            │             │ memory slots: no exit
//	   local APICs, IOAPIC, PIT, kvmclock   │
//	        ─────┼────────────┼─────────────┼──────────────── KVM_RUN returns
//	vmm       vCPU loop    vCPU loop        │
//	             └─────┬──────┘             │
//	             PIO bus, MMIO bus          │
//	   ┌──────┬────────┼───────┬─────┐      │
//	serial   rtc    power    PCI   virtio ──┘ devices read and write it
//	                i8042     └──────┘
//
// A vCPU is a thread that calls KVM_RUN. The guest runs on the real processor
// until it does something that neither the processor nor KVM can do for it: touch
// a port, or an address that no memory slot covers. KVM_RUN then returns, and the
// loop hands the access to the bus, and the bus to the device. Everything that is
// frequent is kept out of that path: interrupts are raised through eventfds
// (irqfd), doorbells are rung through eventfds (ioeventfd), and memory is mapped.
//
// # The set-up
//
// [Spec] is the machine that is wanted, [VM] the one that is. Between the two
// is a plan (tandem/internal/plan): an ordered list of the requests to the
// kernel, each with its reason, which [Plan] prints and [New] carries out:
//
//  1. guest memory: one mapping up to 3 GiB, another from 4 GiB on
//  2. KVM: a VM, and its memory slots
//  3. interrupt controllers and timers
//  4. the devices that every PC has, on the buses
//  5. virtio devices, in PCI or virtio-mmio
//  6. the kernel, its RAM disk and tables, mapped from their files where they can
//     be
//  7. vCPUs: CPUID, registers; all but the first wait for the first to wake them
//
// # The end
//
// A machine ends for one reason, its [Ending]. Two of them look the same from
// outside: a kernel that panics and one that reboots both pull the reset line.
// Linux tells them apart in two bytes of the BIOS data area, where a PC's
// firmware looked for the kind of reset: see [Cmdline].
//
// # Traps
//
//   - A port or MMIO read is finished only by the next KVM_RUN, so a vCPU may
//     be stopped only after an interrupted run, never straight after an exit.
//   - A signal sent to a vCPU's thread just before it enters the guest would be
//     lost; package kvm sets immediate_exit too.
//   - KVM replaces its whole interrupt routing table at once, and waits for all
//     vCPUs to have seen it: messages are written when they are unmasked, not
//     each time that the guest touches a vector's registers.
//   - The guest is hostile: it may write any value to any register at any time,
//     from several vCPUs at once. It can end its own machine; it cannot panic the
//     monitor, nor reach what is not its own.
package vmm
