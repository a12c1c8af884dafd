// Package kvm is Linux's KVM: virtual machines by ioctl.
//
// KVM lends a process the CPU's second pair of modes. Guest code runs on the
// CPU itself until it does something that it may not do alone, which ends the
// lending: a VM exit. The kernel deals with most exits by itself (a page that
// is not there yet, a timer of its in-kernel APIC); what it cannot decide it
// hands to the process, and that is the end of a KVM_RUN.
//
// There are three kinds of file descriptor, each made from the one before,
// and a type for each. Each owns its descriptor, closes it once, and says
// ErrClosed afterwards.
//
//	/dev/kvm ---- System   what does this host have: Check, SupportedCPUID
//	   | CreateVM
//	   v
//	  VM                   memory slots, irqchip, GSI routes, irqfd, ioeventfd
//	   | CreateVCPU
//	   v
//	 VCPU -- mmap --> struct kvm_run, shared with the kernel
//	   |
//	   |  Run            KVM_RUN            VM entry
//	   +------> process -------> kernel ------------> guest
//	            thread  <------- (host)  <-----------
//	   Exit <--          return           VM exit
//
// # From nothing to the first exit
//
//  1. Open checks the API version, which has been 12 since 2007. What a kernel
//     has beyond it are capabilities (Capability), asked for by Check.
//  2. System.CreateVM makes a machine with nothing in it.
//  3. VM.SetMemory says which part of this process's memory (HVA) the guest
//     sees at which physical address (GPA): a memory slot. An access outside
//     of all slots makes an MMIO exit; that is how devices are made.
//  4. VM.CreateIRQChip and VM.CreatePIT put interrupt controllers and timer
//     into the kernel. They come before the vCPUs.
//  5. VM.CreateVCPU makes a processor in its state after reset: real mode, at
//     0xFFFFFFF0. SetCPUID says what processor it is; SetSregs and SetRegs put
//     it where the guest is to start.
//  6. VCPU.Run, in a loop, on a thread of its own.
//
// # Exits
//
// Run returns an Exit: *IO, *MMIO, *HLT and so on, a type for each reason,
// that prints itself. It is decoded from kvm_run into memory of the VCPU, so
// an exit costs no allocation, and the next Run overwrites it.
//
// For an access that reads (IO.In, MMIO without Write) the monitor puts the
// answer into Data; Data is a part of kvm_run, and the kernel moves it into
// the guest's register at the next KVM_RUN. Until then the instruction is half
// done: to save or show registers, VCPU.Complete first.
//
// REP INS comes in few exits, each with a Count and room for all of its data.
// REP OUTS could, and comes one at a time.
//
// # Interrupting a vCPU
//
// A guest in an endless loop never exits. What gets its thread out of KVM_RUN
// is a signal: the ioctl returns EINTR. An interrupted run is not an exit.
// kvm_run still holds the exit before, and who handles it again writes a byte
// to the serial port twice; so Run returns ErrInterrupted and no Exit.
//
// A signal alone has a hole:
//
//	vCPU thread                        another thread
//	looks at its flag: nothing
//	                                   sets the flag
//	                                   sends the signal
//	handler runs, and returns
//	KVM_RUN: the guest runs, forever
//
// C programs close it with a mask: the signal is blocked but in KVM_RUN
// (SetSignalMask), which then returns at once. Newer kernels have
// kvm_run.immediate_exit, a byte that KVM_RUN looks at after the last moment
// for a handler. VCPU.Kick sets the byte and then sends the signal, and Run
// clears the byte after EINTR: no request is lost, and no mask is needed.
//
// The signal has to reach one thread. VCPU.Bind locks the goroutine to its
// thread and notes the thread's ID; Kick sends by tgkill(2). Go's runtime has
// a handler for every signal; KickSignal is one for which it does nothing. It
// sends signals itself: SIGURG, to preempt a goroutine that runs for long. A
// thread in KVM_RUN is in a system call as far as Go knows, so it is not sent
// any, but one may be on its way when KVM_RUN begins. Then Run returns
// ErrInterrupted with no Kick made. A loop looks at its flags, finds none set,
// and runs on.
//
// # Events without exits
//
// A device's interrupt is an ioctl (SetIRQLine, SignalMSI), or with SetIRQFD
// a write to an eventfd, which the kernel turns into an interrupt on a GSI; the
// table of SetGSIRouting says where that GSI leads. The other way round
// SetIOEventFD has the kernel turn a guest's write to an address into a write
// to an eventfd, and the vCPU goes on at once. With both, a device's thread
// and a guest talk without a single exit to this process.
//
// # Known traps
//
//   - Addresses go to the kernel as unsafe.Pointer, converted in the call of
//     the system call itself. A uintptr kept in a variable is no reference: the
//     stack moves when it grows, and the kernel then writes over something else.
//   - KVM_SET_MSRS returns how many it did, and fewer than all is not an error
//     for the kernel. It is one here, and names the MSR (MSRError).
//   - A vCPU's ioctls wait while its KVM_RUN is under way. Kick it first.
//   - The vCPU after reset runs at the top of 4 GiB. A guest at a low address
//     needs CS.Base and CS.Selector set to 0, not only RIP.
//   - SetSregs takes what Sregs returned with changes, not a new Sregs: the
//     hidden parts of segments have to be valid.
//   - A KVM without hardware behind it may interpret guest kernel mode, at a
//     thousandth of the speed; package probe tells.
//
// # Traces
//
// OpenTraced takes a function that is told about each ioctl, with its argument
// decoded. Without one nothing is recorded and nothing allocated.
//
// The kernel's own account is Documentation/virt/kvm/api.rst; names here are
// those of linux/kvm.h, and the comments name its structs. Layouts and numbers
// are compared with that header in tests.
package kvm
