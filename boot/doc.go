// Package boot makes the memory image that a kernel starts in.
//
// # What is in memory before the first instruction
//
// A PC's firmware finds a boot loader on a disk, the boot loader finds a kernel, and the kernel's own first sectors,
// still in 16-bit real mode, ask the firmware about the machine and switch the processor to protected mode. A monitor
// can skip all of that: it has the kernel as a file, it knows the machine since it made it, and it can set the first
// vCPU's registers to any state. So it puts into memory what the loader would have left there, and enters the kernel at
// a later door.
//
//	0x0000_0000 ┌─────────────────────────┐
//	            │ left alone              │  BIOS data area: a guest's word on its reboot
//	0x0000_1000 ├─────────────────────────┤
//	            │ GDT                     │
//	0x0000_2000 │ start info              │  PVH: struct hvm_start_info, or
//	0x0000_7000 │ zero page               │  Linux: struct boot_params, found by RSI
//	0x0000_8000 │ seed                    │
//	0x0000_9000 │ page tables             │
//	0x0002_0000 │ command line            │
//	0x0009_fc00 ├─────────────────────────┤
//	            │ the PC's legacy area:   │  not RAM to the guest
//	            │ ACPI tables, and where  │
//	            │ a BIOS begins, a reset  │
//	0x0010_0000 ├─────────────────────────┤
//	            │                         │
//	0x0100_0000 ├─────────────────────────┤
//	            │ kernel, its .bss        │  where its p_paddr or pref_address says
//	            ├─────────────────────────┤
//	            │ free                    │
//	            ├─────────────────────────┤
//	            │ initrd                  │  as high as the kernel takes it
//	end of RAM  └─────────────────────────┘  or the hole for devices below 4 GiB; RAM goes on above it
//
// # Three ways in
//
// What distributions ship is a bzImage. Its first sectors, the setup, hold a header that tells a boot loader what the
// kernel needs; behind it is a protected-mode program that carries the kernel, compressed, and unpacks it. The kernel
// proper is an ELF file, vmlinux.
//
//   - The ELF file, at its entry point by the 64-bit boot protocol ([Linux64]): [Unpack] does on the host, once for each
//     kernel, what the bzImage's program would do in the guest at each boot.
//   - The bzImage, at that program's 64-bit entry, 0x200 bytes into it: slower, but it can place the kernel at random
//     (KASLR), and knows its own compression whatever that is.
//   - The ELF file, at the entry that a note in it tells, by [PVH]: Xen's protocol, one that other kernels speak too. It
//     starts in 32-bit mode without paging.
//
// # A plan
//
// [Open] tells a kernel's format from its bytes, never from its name, and checks its headers; a header that lies is an
// error that says which field. [NewPlan] makes a [Plan]: segments of guest memory, each with the file or the bytes that
// it comes from, and the [Entry] state. That is data: it can be printed, and tested without a machine. [Plan.Load] puts
// it into memory.
//
// Most of a plan is a kernel of some 50 MB and an initrd, and to copy them would take longer than anything else at the
// start of a VM. So a plan's segments refer to files, in a layout that lets whole pages be mapped (see [Mapper]): an
// unpacked kernel is kept in a cache folder where nobody changes it, with holes instead of its zeros. A page that is
// never touched costs nothing. Planning reads headers alone; whether the cached kernel is the right one is told by a
// record of both files' identities (cache.go), not by reading them.
//
// # Traps
//
//   - Memory must read as zero before a plan is loaded: segments of zeros are not written. To reboot, a monitor takes
//     fresh memory.
//   - A bzImage needs more memory than it has bytes: init_size, in the header, is what it uses before it knows of any
//     other, and an initrd must not be in there.
//   - A file that is mapped and then truncated is a bus error in the monitor. Only files that are known to be left alone
//     are mapped (Source.Immutable); others are copied.
//   - Linux resets a hardware-reduced machine (package acpi) not through ACPI but through EFI, and, as there is none, by
//     a jump to the BIOS in real mode, unless its command line has some "reboot=". So there is a BIOS of nine bytes
//     (Spec.Reset).
//   - A command line that is too long would be cut off without a word; here it is an error.
package boot
